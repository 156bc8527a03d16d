export interface FairItem<T> {
  readonly client: string;
  readonly cost: number;
  readonly startTag: number;
  readonly value: T;
}

interface Client<T> {
  items: FairItem<T>[];
  finishTag: number;
}

/**
 * Start-time fair queueing (Goyal, Vin, Cheng 1996): clients take turns by the cost of what they send, whatever
 * the number of their requests. A client's own items keep their order; one that comes back after a rest starts
 * beside the others, with no credit for it.
 */
export class FairQueue<T> {
  readonly #clients = new Map<string, Client<T>>();
  #virtualTime = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Clients that wait for something. */
  get waitingClients(): number {
    let waiting = 0;
    for (const { items } of this.#clients.values()) if (items.length > 0) waiting++;
    return waiting;
  }

  sizeOf(client: string): number {
    return this.#clients.get(client)?.items.length ?? 0;
  }

  /** Cost that would run before an item of this client ends, its own included: no other gets more than it does. */
  costUntil(client: string, cost: number): number {
    const own = this.#queuedCost(client) + cost;
    let sum = own;
    for (const name of this.#clients.keys())
      if (name !== client) sum += Math.min(own, this.#queuedCost(name));
    return sum;
  }

  push(client: string, cost: number, value: T): FairItem<T> {
    let entry = this.#clients.get(client);
    if (entry === undefined) {
      entry = { items: [], finishTag: 0 };
      this.#clients.set(client, entry);
    }
    const startTag = Math.max(this.#virtualTime, entry.finishTag);
    entry.finishTag = startTag + cost;
    const item = { client, cost, startTag, value };
    entry.items.push(item);
    this.#size++;
    return item;
  }

  /** What is next, without taking it. */
  peek(): FairItem<T> | undefined {
    let next: FairItem<T> | undefined;
    for (const { items } of this.#clients.values()) {
      const [head] = items;
      if (head !== undefined && (next === undefined || head.startTag < next.startTag)) next = head;
    }
    return next;
  }

  /** Takes what is next. */
  shift(): FairItem<T> | undefined {
    const next = this.peek();
    if (next === undefined) return undefined;
    this.#virtualTime = next.startTag;
    this.remove(next);
    return next;
  }

  /** Takes one out of turn: it was withdrawn. False where it has left already. */
  remove(item: FairItem<T>): boolean {
    const entry = this.#clients.get(item.client);
    const at = entry?.items.indexOf(item) ?? -1;
    if (entry === undefined || at === -1) return false;
    entry.items.splice(at, 1);
    this.#size--;
    this.#forgetRested();
    return true;
  }

  #queuedCost(client: string): number {
    return this.#clients.get(client)?.items.reduce((sum, { cost }) => sum + cost, 0) ?? 0;
  }

  /** Who waits for nothing and owes nothing needs no memory; when nobody waits, nobody is owed. */
  #forgetRested(): void {
    if (this.#size === 0) {
      this.#clients.clear();
      this.#virtualTime = 0;
      return;
    }
    for (const [name, { items, finishTag }] of this.#clients)
      if (items.length === 0 && finishTag <= this.#virtualTime) this.#clients.delete(name);
  }
}
