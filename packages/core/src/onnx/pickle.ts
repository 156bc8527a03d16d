/**
 * The pickles inside torch checkpoints, as data. A pickle is a program; this reads only the part of the
 * language that a state dict of tensors needs, and only ever builds maps, tuples and references to storages.
 * Opcodes: CPython, Lib/pickletools.py. Anything else is refused.
 */
import { TrivecError } from '../errors.ts';

/** A storage of the archive, by its key. */
export interface StorageRef {
  kind: 'storage';
  storageType: string;
  key: string;
  elements: number;
}

/** What `torch._utils._rebuild_tensor_v2` was called with. */
export interface TensorRef {
  kind: 'tensor';
  storage: StorageRef;
  offset: number;
  shape: number[];
  strides: number[];
}

interface GlobalRef {
  kind: 'global';
  name: string;
}

export type PickleValue =
  | number
  | string
  | boolean
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | StorageRef
  | TensorRef
  | GlobalRef;

const GLOBALS = new Set([
  'collections OrderedDict',
  'torch._utils _rebuild_tensor_v2',
  'torch HalfStorage',
  'torch FloatStorage',
]);

const MARK = Symbol('mark');
type StackItem = PickleValue | typeof MARK;

export function refuse(what: string): never {
  throw new TrivecError('invalid_model', `The torch checkpoint is refused: ${what}.`);
}

/** Reads one protocol 2 pickle. Throws `invalid_model` naming the first thing that does not belong in one. */
export function readPickle(bytes: Uint8Array): PickleValue {
  return new PickleReader(bytes).read();
}

class PickleReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly stack: StackItem[] = [];
  private readonly memo = new Map<number, PickleValue>();
  private position = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): PickleValue {
    if (this.u8() !== 0x80 || this.u8() !== 2) refuse('its pickle is not of protocol 2');
    for (;;) {
      const opcode = this.u8();
      if (opcode === 0x2e) return this.pop(); // STOP
      this.run(opcode);
    }
  }

  private run(opcode: number): void {
    switch (opcode) {
      case 0x63: // GLOBAL
        this.push(this.global());
        break;
      case 0x52: // REDUCE
        this.push(this.reduce());
        break;
      case 0x28: // MARK
        this.stack.push(MARK);
        break;
      case 0x58: // BINUNICODE
        this.push(this.text(this.u32()));
        break;
      case 0x71: // BINPUT
        this.memo.set(this.u8(), this.top());
        break;
      case 0x68: // BINGET
        this.push(this.memo.get(this.u8()) ?? refuse('its pickle recalls what it never stored'));
        break;
      case 0x4a: // BININT
        this.push(this.view.getInt32(this.take(4), true));
        break;
      case 0x4b: // BININT1
        this.push(this.u8());
        break;
      case 0x4d: // BININT2
        this.push(this.view.getUint16(this.take(2), true));
        break;
      case 0x8a: // LONG1
        this.push(this.long(this.u8()));
        break;
      case 0x29: // EMPTY_TUPLE
        this.push([]);
        break;
      case 0x74: // TUPLE
        this.push(this.popToMark());
        break;
      case 0x85: // TUPLE1
        this.push([this.pop()]);
        break;
      case 0x86: // TUPLE2
        this.push([this.pop(), this.pop()].reverse());
        break;
      case 0x51: // BINPERSID
        this.push(toStorage(this.pop()));
        break;
      case 0x89: // NEWFALSE
        this.push(false);
        break;
      case 0x7d: // EMPTY_DICT
        this.push(new Map());
        break;
      case 0x73: // SETITEM
        this.setItems([this.pop(), this.pop()].reverse());
        break;
      case 0x75: // SETITEMS
        this.setItems(this.popToMark());
        break;
      case 0x62: // BUILD
        this.build();
        break;
      default:
        refuse(`its pickle uses opcode 0x${opcode.toString(16)}, which no state dict needs`);
    }
  }

  private global(): GlobalRef {
    const name = `${this.line()} ${this.line()}`;
    if (!GLOBALS.has(name)) refuse(`its pickle names ${JSON.stringify(name.slice(0, 100))}`);
    return { kind: 'global', name };
  }

  /** The two calls a state dict makes; neither runs anything. */
  private reduce(): PickleValue {
    const args = this.pop();
    const callee = this.pop();
    if (!isGlobal(callee) || !Array.isArray(args))
      return refuse('its pickle calls something that is no function');
    if (callee.name === 'collections OrderedDict' && args.length === 0) return new Map();
    if (callee.name === 'torch._utils _rebuild_tensor_v2') return toTensor(args);
    return refuse(`its pickle calls ${callee.name.replace(' ', '.')} in a way no state dict does`);
  }

  /** `_metadata` of a module's state dict arrives as the attributes of the dict: dropped unread. */
  private build(): void {
    if (!(this.pop() instanceof Map) || !(this.top() instanceof Map))
      refuse('its pickle sets the state of something other than a dict');
  }

  private setItems(items: PickleValue[]): void {
    const target = this.top();
    if (!(target instanceof Map) || items.length % 2 !== 0)
      refuse('its pickle fills something that is no dict');
    for (let i = 0; i < items.length; i += 2) target.set(items[i]!, items[i + 1]!);
  }

  private push(value: PickleValue): void {
    this.stack.push(value);
  }

  private pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined || value === MARK) return refuse('its pickle takes from an empty stack');
    return value;
  }

  private top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined || value === MARK) return refuse('its pickle takes from an empty stack');
    return value;
  }

  private popToMark(): PickleValue[] {
    const mark = this.stack.lastIndexOf(MARK);
    if (mark < 0) return refuse('its pickle has no mark where it needs one');
    return this.stack.splice(mark).slice(1) as PickleValue[];
  }

  private take(length: number): number {
    const start = this.position;
    if (start + length > this.bytes.length) refuse('its pickle is cut short');
    this.position += length;
    return start;
  }

  private u8(): number {
    return this.view.getUint8(this.take(1));
  }

  private u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  private long(length: number): number {
    const start = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]!);
    const number = Number(BigInt.asIntN(length * 8, value));
    return Number.isSafeInteger(number) ? number : refuse('its pickle holds a number too large for any size');
  }

  private text(length: number): string {
    const start = this.take(length);
    return new TextDecoder().decode(this.bytes.subarray(start, start + length));
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.position);
    if (end < 0) refuse('its pickle is cut short');
    const line = this.text(end - this.position);
    this.position++;
    return line;
  }
}

function isGlobal(value: PickleValue | undefined): value is GlobalRef {
  return typeof value === 'object' && 'kind' in value && value.kind === 'global';
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The persistent id of a storage: ('storage', type, key, device, elements). */
function toStorage(id: PickleValue): StorageRef {
  if (!Array.isArray(id) || id.length !== 5 || id[0] !== 'storage')
    return refuse('its pickle refers to something other than a storage');
  const [, type, key, , elements] = id;
  if (!isGlobal(type) || !type.name.endsWith('Storage') || typeof key !== 'string' || !isSize(elements))
    return refuse('its pickle describes a storage in a way torch does not');
  return { kind: 'storage', storageType: type.name.replace(' ', '.'), key, elements };
}

function toTensor([storage, offset, shape, strides]: PickleValue[]): TensorRef {
  const wellFormed =
    typeof storage === 'object' &&
    'kind' in storage &&
    storage.kind === 'storage' &&
    isSize(offset) &&
    Array.isArray(shape) &&
    shape.every(isSize) &&
    Array.isArray(strides) &&
    strides.every(isSize);
  if (!wellFormed) return refuse('its pickle describes a tensor in a way torch does not');
  return { kind: 'tensor', storage, offset, shape, strides };
}
