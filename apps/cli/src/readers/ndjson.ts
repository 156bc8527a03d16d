import { TrivecError } from '@trivec/core/errors';
import { type Line, LineSplitter } from '@trivec/core/jobs/lineSplitter';
import type { SourceRecord } from './recordFile.ts';

/** One JSON object a line, cut and counted as the server does; blank lines are passed over. */
export async function* readNdjson(
  bytes: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<SourceRecord> {
  const splitter = new LineSplitter(maxLineBytes);
  for await (const chunk of bytes) for (const line of splitter.push(chunk)) yield toRecord(line);
  for (const line of splitter.end()) yield toRecord(line);
}

function toRecord({ number, text }: Line): SourceRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(number, 'is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(number, 'is not a JSON object');
  }
  return { position: number, fields: value as Record<string, unknown> };
}

function invalid(line: number, problem: string): TrivecError {
  return new TrivecError('invalid_line', `Line ${line} ${problem}.`, { param: `line ${line}` });
}
