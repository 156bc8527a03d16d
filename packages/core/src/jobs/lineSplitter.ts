import { isUtf8 } from 'node:buffer';
import { TrivecError } from '../errors.ts';

const NEWLINE = 10;
/** Blank lines between all others are fine; megabytes of them are a gzip bomb that only costs time. */
const MAX_BLANK_SURPLUS_BYTES = 1024 ** 2;

export interface Line {
  text: string;
  /** From 1, blank lines counted. */
  number: number;
}

/**
 * Cuts bytes into lines, keeping no more than one line. A BOM at the start, CRLF and blank lines are fine,
 * as long as the blank ones are not the most of it (`body_too_large`).
 * A line over the limit is refused (`body_too_large`) as soon as it is, and not kept; bytes that are not UTF-8
 * are `invalid_line`. With `onBad`, such a line is not thrown: what `onBad` makes of it stands in its place.
 */
export class LineSplitter<Bad = never> {
  private readonly maxLineBytes: number;
  private readonly onBad: ((error: TrivecError, number: number) => Bad) | undefined;
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  private overlong = false;
  private number = 0;
  /** Bytes of blank lines less those of the others. */
  private blankSurplusBytes = 0;

  constructor(maxLineBytes: number, onBad?: (error: TrivecError, number: number) => Bad) {
    this.maxLineBytes = maxLineBytes;
    this.onBad = onBad;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Line | Bad> {
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
  *end(): Generator<Line | Bad> {
    if (this.pieceBytes === 0 && !this.overlong) return;
    const line = this.line(Buffer.alloc(0));
    if (line !== undefined) yield line;
  }

  private keep(piece: Buffer): void {
    if (this.overlong) return;
    if (this.pieceBytes + piece.length > this.maxLineBytes) {
      if (this.onBad === undefined) throw this.tooLong(this.number + 1);
      this.overlong = true;
      this.pieces = [];
      this.pieceBytes = 0;
      return;
    }
    // A copy: the chunk's memory may be large, or the sender's to reuse.
    this.pieces.push(Buffer.from(piece));
    this.pieceBytes += piece.length;
  }

  private line(tail: Buffer): Line | Bad | undefined {
    const overlong = this.overlong || this.pieceBytes + tail.length > this.maxLineBytes;
    const pieces = this.pieces;
    this.pieces = [];
    this.pieceBytes = 0;
    this.overlong = false;
    this.number++;
    if (overlong) return this.bad(this.tooLong(this.number));
    let bytes = pieces.length === 0 ? tail : Buffer.concat([...pieces, tail]);
    if (this.number === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
      bytes = bytes.subarray(3);
    if (!isUtf8(bytes))
      return this.bad(
        new TrivecError('invalid_line', `Line ${this.number} is not valid UTF-8.`, {
          param: `line ${this.number}`,
        }),
      );
    const text = bytes.toString('utf8').trim();
    if (text !== '') {
      this.blankSurplusBytes -= bytes.length + 1;
      return { text, number: this.number };
    }
    this.blankSurplusBytes += bytes.length + 1;
    if (this.blankSurplusBytes > MAX_BLANK_SURPLUS_BYTES)
      throw new TrivecError('body_too_large', `Up to line ${this.number} the body is mostly blank lines.`, {
        param: `line ${this.number}`,
      });
    return undefined;
  }

  private bad(error: TrivecError): Bad {
    if (this.onBad === undefined) throw error;
    return this.onBad(error, this.number);
  }

  private tooLong(number: number): TrivecError {
    return new TrivecError(
      'body_too_large',
      `Line ${number} is longer than ${this.maxLineBytes} bytes (MAX_LINE_BYTES).`,
      { param: `line ${number}` },
    );
  }
}
