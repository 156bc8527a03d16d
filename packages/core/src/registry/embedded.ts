import type { StartingWorker, WorkerAnnouncement, WorkerRegistry } from './workerRegistry.ts';

/** The registry of a backend whose workers all live in this process: alive means announced. */
export class EmbeddedRegistry implements WorkerRegistry {
  readonly #workers = new Set<() => WorkerAnnouncement>();
  readonly #starting = new Set<StartingWorker>();

  async announce(read: () => WorkerAnnouncement): Promise<{ close(): Promise<void> }> {
    // a set entry of its own, also where the same function is announced twice
    const entry = () => read();
    this.#workers.add(entry);
    return {
      close: async () => {
        this.#workers.delete(entry);
      },
    };
  }

  async list(): Promise<WorkerAnnouncement[]> {
    return [...this.#workers].map((read) => read());
  }

  async announceStart(worker: StartingWorker): Promise<{ close(): Promise<void> }> {
    const entry = { ...worker };
    this.#starting.add(entry);
    return {
      close: async () => {
        this.#starting.delete(entry);
      },
    };
  }

  async listStarting(): Promise<StartingWorker[]> {
    return [...this.#starting];
  }

  async close(): Promise<void> {
    this.#workers.clear();
    this.#starting.clear();
  }
}
