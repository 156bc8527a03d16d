import { hash } from 'node:crypto';

const FIRST_CAPACITY = 1024;
const MAX_LOAD = 0.75;

/**
 * Has this id been here? Keeps 128 bits of each id's SHA-256 in typed arrays, open addressing: 21 to 43 bytes an
 * id however long it is, so that ten million fit in memory. Two of ten million ids collide with probability 10^-25.
 */
export class IdSet {
  /** Four words a slot; all zero is an empty one. */
  private slots = new Uint32Array(FIRST_CAPACITY * 4);
  private capacity = FIRST_CAPACITY;
  private count = 0;

  get size(): number {
    return this.count;
  }

  /** False if it was there already. */
  add(id: string): boolean {
    const digest = hash('sha256', id, 'buffer');
    const a = digest.readUInt32LE(0);
    const b = digest.readUInt32LE(4);
    const c = digest.readUInt32LE(8);
    // A hash of zeros would look like an empty slot.
    const d = digest.readUInt32LE(12) || 1;
    if (!this.insert(a, b, c, d)) return false;
    this.count++;
    if (this.count > this.capacity * MAX_LOAD) this.grow();
    return true;
  }

  private insert(a: number, b: number, c: number, d: number): boolean {
    const { slots, capacity } = this;
    for (let slot = a & (capacity - 1); ; slot = (slot + 1) & (capacity - 1)) {
      const at = slot * 4;
      if (slots[at + 3] === 0) {
        slots[at] = a;
        slots[at + 1] = b;
        slots[at + 2] = c;
        slots[at + 3] = d;
        return true;
      }
      if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d) return false;
    }
  }

  private grow(): void {
    const old = this.slots;
    this.capacity *= 2;
    this.slots = new Uint32Array(this.capacity * 4);
    for (let at = 0; at < old.length; at += 4)
      if (old[at + 3] !== 0) this.insert(old[at]!, old[at + 1]!, old[at + 2]!, old[at + 3]!);
  }
}
