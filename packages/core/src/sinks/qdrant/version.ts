import { TrivecError } from '../../errors.ts';
import type { CollectionRules } from './collection.ts';

type Version = readonly [major: number, minor: number, patch: number];

interface Need {
  since: Version;
  what: string;
  instead: string;
}

/** By Qdrant's release notes; of gRPC, by its proto files: the first version that has fields 101 to 103 of `Vector`. */
const KINDS: Record<'dense' | 'sparse' | 'colbert', Need> = {
  dense: { since: [0, 10, 0], what: 'named vectors', instead: '' },
  sparse: { since: [1, 7, 0], what: 'sparse vectors', instead: ', or leave sparse out of the outputs' },
  colbert: { since: [1, 10, 0], what: 'multivectors', instead: ', or leave colbert out of the outputs' },
};
const GRPC: Need = {
  since: [1, 12, 2],
  what: 'vectors by gRPC as they are sent here',
  instead: ', or leave out its gRPC address: then they go by REST',
};

/**
 * Throws `invalid_request` where the server is older than what the job sends: an older one overlooks what it does not know,
 * and then refuses every point for a reason that says nothing of that. A version that cannot be read is let through.
 */
export function requireVersion(
  version: string | undefined,
  rules: CollectionRules,
  server: { description: string; grpc: boolean },
): void {
  const has = parseVersion(version);
  if (has === undefined) return;
  const needs = [...rules.values()].map(({ kind }) => KINDS[kind]);
  for (const { since, what, instead } of server.grpc ? [...needs, GRPC] : needs)
    if (isBefore(has, since))
      throw new TrivecError(
        'invalid_request',
        `destination: the Qdrant at ${server.description} is ${version}; ${what} came with ${since.join('.')}. Take a newer one${instead}.`,
        { param: 'destination' },
      );
}

function parseVersion(version: string | undefined): Version | undefined {
  const [, major, minor, patch = 0] = /^v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(version ?? '') ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor), Number(patch)];
}

function isBefore(a: Version, b: Version): boolean {
  const first = a.findIndex((part, i) => part !== b[i]);
  return first !== -1 && a[first]! < b[first]!;
}
