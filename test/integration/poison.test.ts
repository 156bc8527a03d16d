import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { JobService } from '@trivec/core/jobs/jobService';
import { openStorage } from '@trivec/core/storage/open';
import { BACKEND_KINDS, silentLogger as logger, temporaryDataDir } from '../support/backends.ts';
import { FAKE_MODEL } from '../support/fakeEngine.ts';
import { ANYONE } from '../support/jobRig.ts';
import { findRedisServer, startRedis } from '../support/redis.ts';

const WORKER = fileURLToPath(new URL('../support/poisonedWorker.ts', import.meta.url));
const FINGERPRINT = 'poison';
const MAX_LIVES = 20;

/** What kills the process: in the model; and on Redis, where lives are short, in the tokenizer, too. */
const DEADLY = {
  embedded: new Map([[17, 'a poison here']]),
  redis: new Map([
    [17, 'a poison here'],
    [31, 'the poisoned tokenizer'],
  ]),
};
const DOCUMENTS = 40;

for (const kind of BACKEND_KINDS) {
  const skip = kind === 'redis' && findRedisServer() === undefined && 'no redis-server on this machine';
  describe(`documents that kill the process (${kind})`, { skip }, () => {
    test('each fails alone, after dying alone three times; all others are embedded', async (t) => {
      const deadly = DEADLY[kind];
      const { dataDir, remove } = await temporaryDataDir();
      t.after(remove);
      const redis = kind === 'redis' ? await startRedis() : undefined;
      t.after(() => redis?.stop());
      const backendUrl = redis?.url ?? 'embedded';
      const config = { ...loadConfig({ DATA_DIR: dataDir, BACKEND_URL: backendUrl }), shardMaxDocuments: 20 };

      const storage = await openStorage(config);
      let backend = await openBackend(config, logger);
      const { id } = await new JobService({ backend, storage, config, logger }).submit({
        source: {
          format: 'array',
          documents: Array.from({ length: DOCUMENTS }, (_, i) => ({
            id: `d${i}`,
            text: deadly.get(i) ?? `text number ${i}`,
          })),
        },
        options: {},
        model: { ...FAKE_MODEL, fingerprint: FINGERPRINT },
        owner: ANYONE.owner,
      });
      await backend.close();

      let lives = 1;
      for (; lives < MAX_LIVES; lives++) {
        const worker = spawn(process.execPath, [WORKER, backendUrl, dataDir, FINGERPRINT, id], {
          cwd: dataDir,
          stdio: 'ignore',
        });
        t.after(() => worker.kill('SIGKILL'));
        const [code] = (await once(worker, 'exit')) as [number | null];
        if (code === 0) break;
      }
      // One death with others for each, three alone: the two shards may die together or one after the other.
      assert.ok(lives <= 4 * deadly.size + 1, `${lives} lives`);

      backend = await openBackend(config, logger);
      t.after(() => backend.close());
      const service = new JobService({ backend, storage, config, logger });
      const job = await service.get(id, ANYONE);
      assert.equal(job.status, 'completed');
      assert.deepEqual(job.counts, {
        documents: DOCUMENTS,
        embedded: DOCUMENTS - deadly.size,
        written: 0,
        failed: deadly.size,
      });
      const errors = await Array.fromAsync(await service.errors(id, ANYONE));
      assert.deepEqual(
        errors.map(({ id: document, code }) => `${document} ${code}`),
        [...deadly.keys()].map((i) => `d${i} poisoned_document`),
      );
    });
  });
}
