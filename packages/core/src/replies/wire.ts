import { Packr } from 'msgpackr';
import { ERRORS, type ErrorCode, TrivecError, toTrivecError } from '../errors.ts';

/** `structuredClone` keeps typed arrays what they are; plain maps, so that a message needs no shared state. */
const packr = new Packr({ structuredClone: true, useRecords: false });

interface WireError {
  code: string;
  message: string;
  param?: string;
  retryAfterSeconds?: number;
}

/** What a worker tells the process that asked, by request id. */
export type ReplyMessage =
  /** It has taken the work from the queue: if it dies, the work dies with it. */
  | { id: string; kind: 'taken'; server: string }
  /** It was offered the work, and has no room for it. */
  | { id: string; kind: 'declined'; server: string }
  | { id: string; kind: 'reply'; value: unknown }
  | { id: string; kind: 'error'; error: WireError }
  /** The message itself is too large for a channel and lies under this key. */
  | { id: string; kind: 'stored'; key: string };

/** What an asker sends straight to a server. */
export interface Offer {
  id: string;
  replyChannel: string;
  /** Milliseconds until its deadline. */
  allowedMs: number;
  /** As `packTask` made it. */
  task: Buffer;
}

export function packOffer(offer: Offer): Buffer {
  return packr.pack(offer);
}

export function unpackOffer(bytes: Uint8Array): Offer {
  return packr.unpack(bytes) as Offer;
}

export function packMessage(message: ReplyMessage): Buffer {
  return packr.pack(message);
}

export function unpackMessage(bytes: Uint8Array): ReplyMessage {
  return packr.unpack(bytes) as ReplyMessage;
}

/** Plain structures of JSON values and typed arrays. */
export function packTask(task: unknown): Buffer {
  return packr.pack(task);
}

export function unpackTask(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}

export function errorToWire(error: unknown): WireError {
  const { code, message, param, retryAfterSeconds } = toTrivecError(error);
  return {
    code,
    message,
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

/** A code that this version does not know becomes `internal`. */
export function errorFromWire({ code, message, param, retryAfterSeconds }: WireError): TrivecError {
  const known: ErrorCode = Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal';
  return new TrivecError(known, message, {
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}
