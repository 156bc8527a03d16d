import { TextDecoder } from 'node:util';
import { TrivecError } from '@trivec/core/errors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/**
 * JSON only, so that what a web page may send anywhere without asking (text/plain, forms) is a 415. Bytes that are
 * not UTF-8 are refused rather than replaced: a text would be silently another one. An empty body is no body.
 */
export const bodies = fp(
  async (app: FastifyInstance) => {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const parseJson = app.getDefaultJsonParser('error', 'error');
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
      const encoding = request.headers['content-encoding'] ?? 'identity';
      if (encoding !== 'identity') {
        done(unsupportedEncoding(encoding, 'A JSON body is sent as it is'));
        return;
      }
      if (body.length === 0) {
        done(null, undefined);
        return;
      }
      let text: string;
      try {
        text = decoder.decode(body as Buffer);
      } catch {
        done(new TrivecError('invalid_json', 'The body is not UTF-8.'));
        return;
      }
      parseJson(request, text, (error, value) => done(error === null ? null : explain(text), value));
    });
  },
  { name: 'bodies' },
);

/** Why the body was refused. The engine's own message quotes the text: only the place is taken over. */
function explain(text: string): TrivecError {
  try {
    JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec(String(error))?.[1];
    const where = position === undefined ? '' : ` (at character ${Number(position) + 1})`;
    return new TrivecError('invalid_json', `The body is not valid JSON${where}.`);
  }
  return new TrivecError(
    'invalid_json',
    'The body has a field named __proto__, or a constructor with a prototype: such names are refused.',
  );
}

export function unsupportedEncoding(encoding: string, rule: string): TrivecError {
  return new TrivecError(
    'unsupported_media_type',
    `Content-Encoding ${JSON.stringify(encoding)} is not supported. ${rule}.`,
    { param: 'content-encoding' },
  );
}
