import { isUtf8 } from 'node:buffer';
import { TrivecError } from '../errors.ts';

const NEWLINE = 10;

export interface Line {
  text: string;
  /** From 1, blank lines counted. */
  number: number;
}

/**
 * Cuts bytes into lines, keeping no more than one line. A BOM at the start, CRLF and blank lines are fine.
 * Throws `body_too_large` for a line over the limit as soon as it is, and `invalid_line` for bytes that are not UTF-8.
 */
export class LineSplitter {
  private readonly maxLineBytes: number;
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  private number = 0;

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Line> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let begin = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, begin)) {
      const line = this.line(bytes.subarray(begin, end));
      if (line !== undefined) yield line;
      begin = end + 1;
    }
    if (begin < bytes.length) this.keep(bytes.subarray(begin));
  }

  /** The last line, where the body does not end in a newline. */
  *end(): Generator<Line> {
    if (this.pieceBytes === 0) return;
    const line = this.line(Buffer.alloc(0));
    if (line !== undefined) yield line;
  }

  private keep(piece: Buffer): void {
    this.checkLength(this.pieceBytes + piece.length);
    // A copy: the chunk's memory may be large, or the sender's to reuse.
    this.pieces.push(Buffer.from(piece));
    this.pieceBytes += piece.length;
  }

  private line(tail: Buffer): Line | undefined {
    this.checkLength(this.pieceBytes + tail.length);
    let bytes = this.pieceBytes === 0 ? tail : Buffer.concat([...this.pieces, tail]);
    this.pieces = [];
    this.pieceBytes = 0;
    this.number++;
    if (this.number === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
      bytes = bytes.subarray(3);
    if (!isUtf8(bytes))
      throw new TrivecError('invalid_line', `Line ${this.number} is not valid UTF-8.`, {
        param: `line ${this.number}`,
      });
    const text = bytes.toString('utf8').trim();
    return text === '' ? undefined : { text, number: this.number };
  }

  private checkLength(bytes: number): void {
    if (bytes <= this.maxLineBytes) return;
    const number = this.number + 1;
    throw new TrivecError(
      'body_too_large',
      `Line ${number} is longer than ${this.maxLineBytes} bytes (MAX_LINE_BYTES).`,
      { param: `line ${number}` },
    );
  }
}
