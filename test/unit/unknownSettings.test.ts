import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { misspeltOptions } from '@trivec/core/config';

test('names in .env that are no option are told of, with the nearest one', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-env-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, '.env');
  const names = [
    'MODEL',
    'MODEL_DTPYE',
    'MODLE',
    'Port',
    'TRIVEC_HOST',
    'WEATHER',
    'COMPOSE_PROJECT_NAME',
    'QDRANT_PORT',
  ];
  writeFileSync(file, names.map((name) => `${name}=1\n`).join(''));
  assert.deepEqual(misspeltOptions(file, { MODEL_DTPYE: '1' }), [
    'MODEL_DTPYE in .env: unknown; did you mean MODEL_DTYPE?',
    'MODLE in .env: unknown; did you mean MODEL?',
    'Port in .env: unknown; did you mean PORT?',
    'TRIVEC_HOST in .env: unknown; did you mean HOST?',
    'WEATHER in .env: unknown; docs/configuration.md has them all',
  ]);
  assert.deepEqual(misspeltOptions(join(folder, 'none'), {}), []);
});

test('of the environment only what is hardly anything but a slip', () => {
  const none = join(tmpdir(), 'trivec-no-such-env');
  const slips = { MODEL_DTPYE: '', BACKEND_ULR: '', TRIVEC_PORT: '', QDRANT_URLL: '', QDRANT_ULR: '' };
  assert.deepEqual(misspeltOptions(none, slips), [
    'MODEL_DTPYE: unknown; did you mean MODEL_DTYPE?',
    'BACKEND_ULR: unknown; did you mean BACKEND_URL?',
    'TRIVEC_PORT: unknown; did you mean PORT?',
    'QDRANT_URLL: unknown; did you mean QDRANT_URL?',
    'QDRANT_ULR: unknown; did you mean QDRANT_URL?',
  ]);
  const foreign = `API_KEY LOGLEVEL HOSTNAME MODEL_DIR MODEL_FILE SOURCE_DIR PATH PORTS DEVICES HF_HUB_ENABLE_HF_TRANSFER
    REDIS_URL QDRANT_URI HF_TOKENS AWS_PROFILE AWS_ACCESS_KEY TRIVEC_DATA STORAGE_DIR NODE_OPTIONS HF_DATASETS_OFFLINE`;
  assert.deepEqual(misspeltOptions(none, Object.fromEntries(foreign.split(/\s+/).map((n) => [n, '']))), []);
});
