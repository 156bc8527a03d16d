/** Keeps the best `limit` of what is offered. Of equal scores the one offered first stays. */
export class TopRows<T> {
  private readonly limit: number;
  /** Best first. */
  private readonly kept: { score: number; value: T }[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Lower scores than this need not be offered. */
  get threshold(): number {
    return this.kept.length < this.limit ? Number.NEGATIVE_INFINITY : this.kept.at(-1)!.score;
  }

  offer(score: number, value: T): void {
    if (this.kept.length >= this.limit && !(score > this.threshold)) return;
    let low = 0;
    let high = this.kept.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.kept[middle]!.score >= score) low = middle + 1;
      else high = middle;
    }
    this.kept.splice(low, 0, { score, value });
    if (this.kept.length > this.limit) this.kept.pop();
  }

  best(): readonly { score: number; value: T }[] {
    return this.kept;
  }
}
