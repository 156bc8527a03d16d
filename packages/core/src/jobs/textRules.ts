/** Anything but blanks, control characters, and characters that show nothing (zero-width spaces, joiners, fillers). */
const VISIBLE = /[^\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

/** Whether there is nothing in a text that a reader could see. */
export function isBlank(text: string): boolean {
  return !VISIBLE.test(text);
}
