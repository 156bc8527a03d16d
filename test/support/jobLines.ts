/** One document as a line of NDJSON. */
export const line = (id: string | number, text = `text ${id}`) => `${JSON.stringify({ id, text })}\n`;

/** `count` documents with ids d0, d1, … */
export const passages = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: `d${index}`, text: `text ${index}` }));
