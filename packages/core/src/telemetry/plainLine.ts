/** What a person at a terminal reads instead of a line's fields. Pure. */

type Fields = Readonly<Record<string, unknown>>;

/** By message; empty: nothing that another line does not say, too. */
const PLAIN: Readonly<Record<string, (fields: Fields) => string>> = {
  'device not available': ({ device, reason }) => `${device} is not used: ${reason}`,
  'model ready': () => '',
  'worker ready': ({ model, dtype, device }) => `model ${model} (${dtype}) is ready on ${device}`,
  listening: ({ url }) => `listening on ${url}`,
  'downloading the model': ({ repo, from }) => `downloading ${repo} from ${from}`,
  downloading: ({ file, percent, totalBytes }) =>
    `downloading ${file}: ${percent} % of ${Math.ceil(Number(totalBytes) / 1024 ** 2)} MiB`,
  'looking for the rewritten model, or making it': ({ model, dtype }) =>
    `looking for the ${dtype} form of ${model}, or making it, which takes minutes once`,
  'rewritten model': ({ model, dtype, folder, reused }) =>
    `${reused === true ? 'found' : 'made'} the ${dtype} form of ${model}: ${folder}`,
  request: ({ method, route, status, ms }) => `${method} ${route} ${status} in ${ms} ms`,
};

/** Fastify has a line for every address. */
const FASTIFY_LISTENS = 'Server listening at ';

/** How a line of level info reads without its fields, empty where it is left out; `undefined` for one that keeps them. */
export function plainLine(message: string, fields: Fields): string | undefined {
  if (message.startsWith(FASTIFY_LISTENS)) return '';
  return Object.hasOwn(PLAIN, message) ? PLAIN[message]?.(fields) : undefined;
}
