import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { KEYLESS_OWNER } from './viewer.ts';

export interface ApiKey {
  /** Whose jobs it sees, and the name in logs. */
  name: string;
  admin: boolean;
  /** Route patterns (`/embeddings`, `/tei/*`) it may use; all when absent. */
  routes: readonly string[] | undefined;
}

const FileSchema = Type.Array(
  Type.Object(
    {
      name: Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
      key: Type.Optional(Type.String({ minLength: 16, maxLength: 256 })),
      sha256: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
      role: Type.Optional(Type.Enum(['user', 'admin'])),
      routes: Type.Optional(Type.Array(Type.String({ pattern: '^/' }), { minItems: 1 })),
    },
    { additionalProperties: false },
  ),
);

/**
 * The keys that open the API. Kept as HMACs under a secret of this process, so that its memory holds no key, and
 * compared with every known one in constant time.
 */
export class ApiKeys {
  readonly #secret = randomBytes(32);
  readonly #keys: { mac: Buffer; key: ApiKey }[] = [];

  /** Throws `invalid_config` for a file that cannot be read, and where a name or a key stands twice. */
  constructor(config: Pick<Config, 'apiKeys' | 'apiKeysFile'>) {
    for (const entry of config.apiKeys) {
      const at = entry.indexOf('=');
      const [name = '', role] = entry.slice(0, at).split(':');
      this.#add(sha256(entry.slice(at + 1)), { name, admin: role === 'admin', routes: undefined });
    }
    if (config.apiKeysFile !== undefined)
      for (const { name, key, sha256: digest, role, routes } of readKeys(config.apiKeysFile)) {
        if ((key === undefined) === (digest === undefined))
          throw invalid(`the key ${name} takes one of "key" and "sha256".`);
        const bytes = key === undefined ? Buffer.from(digest ?? '', 'hex') : sha256(key);
        this.#add(bytes, { name, admin: role === 'admin', routes });
      }
  }

  get size(): number {
    return this.#keys.length;
  }

  /** Looks at every key, whichever it is. */
  find(given: string): ApiKey | undefined {
    const mac = this.#mac(sha256(given));
    let found: ApiKey | undefined;
    for (const known of this.#keys) if (timingSafeEqual(known.mac, mac)) found = known.key;
    return found;
  }

  #add(digest: Buffer, key: ApiKey): void {
    if (key.name === KEYLESS_OWNER)
      throw invalid(`the name ${KEYLESS_OWNER} is that of requests without a key; give the key another.`);
    const mac = this.#mac(digest);
    for (const known of this.#keys) {
      if (known.key.name === key.name) throw invalid(`the name ${key.name} stands twice.`);
      if (timingSafeEqual(known.mac, mac))
        throw invalid(`${known.key.name} and ${key.name} have the same key.`);
    }
    this.#keys.push({ mac, key });
  }

  #mac(digest: Buffer): Buffer {
    return createHmac('sha256', this.#secret).update(digest).digest();
  }
}

/** Whether a key may use the route of this pattern. */
export function mayUse({ routes }: Pick<ApiKey, 'routes'>, route: string): boolean {
  if (routes === undefined) return true;
  return routes.some((allowed) =>
    allowed.endsWith('*') ? route.startsWith(allowed.slice(0, -1)) : route === allowed,
  );
}

function sha256(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function readKeys(file: string): Static<typeof FileSchema> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    // Without the parser's message: it quotes what it read.
    throw new TrivecError('invalid_config', `API_KEYS_FILE: ${file} cannot be read as JSON.`, {
      param: 'API_KEYS_FILE',
      cause: cause instanceof SyntaxError ? undefined : cause,
    });
  }
  if (Value.Check(FileSchema, content)) return content;
  const [problem] = Value.Errors(FileSchema, content);
  throw invalid(`${problem?.instancePath ?? ''} ${problem?.message ?? 'is malformed'}.`);
}

function invalid(what: string): TrivecError {
  return new TrivecError('invalid_config', `API_KEYS or API_KEYS_FILE: ${what}`, { param: 'API_KEYS' });
}
