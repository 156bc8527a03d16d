import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** As much of an S3 server as storage asks for: one bucket in memory, paths for buckets, XML answers. */
export interface S3Double {
  url: string;
  objects: Map<string, { body: Buffer; modifiedAtMs: number }>;
  /** Answers the next requests with this error instead. */
  failNext(times: number, status: number, code: string): void;
  requests: string[];
  close(): Promise<void>;
}

const PAGE = 3;

export async function startS3Double(bucket: string): Promise<S3Double> {
  const objects: S3Double['objects'] = new Map();
  const requests: string[] = [];
  const failures: { status: number; code: string }[] = [];
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request);
    const url = new URL(request.url ?? '/', 'http://s3');
    requests.push(`${request.method} ${url.pathname}`);
    const failure = failures.shift();
    if (failure !== undefined) return sendError(response, failure.status, failure.code);
    if (!request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 Credential=test/'))
      return sendError(response, 403, 'InvalidAccessKeyId');
    const [, name, ...rest] = decodeURIComponent(url.pathname).split('/');
    if (name !== bucket) return sendError(response, 404, 'NoSuchBucket');
    answer(request, response, url, rest.join('/'), body);
  });

  function answer(request: IncomingMessage, response: ServerResponse, url: URL, key: string, body: Buffer) {
    if (request.method === 'HEAD') return response.end();
    if (request.method === 'PUT') {
      objects.set(key, { body, modifiedAtMs: Date.now() });
      return response.end();
    }
    if (request.method === 'POST' && url.searchParams.has('delete')) {
      for (const [, found] of String(body).matchAll(/<Key>([^<]+)<\/Key>/g)) objects.delete(found!);
      return sendXml(response, '<DeleteResult/>');
    }
    if (key !== '') {
      const object = objects.get(key);
      return object === undefined ? sendError(response, 404, 'NoSuchKey') : response.end(object.body);
    }
    const prefix = url.searchParams.get('prefix') ?? '';
    const after = url.searchParams.get('continuation-token') ?? '';
    const found = [...objects.keys()].filter((one) => one.startsWith(prefix) && one > after).sort();
    const page = found.slice(0, PAGE);
    const contents = page.map((one) => {
      const { body, modifiedAtMs } = objects.get(one)!;
      return `<Contents><Key>${one}</Key><Size>${body.length}</Size><LastModified>${new Date(modifiedAtMs).toISOString()}</LastModified></Contents>`;
    });
    const more = found.length > PAGE;
    return sendXml(
      response,
      `<ListBucketResult><IsTruncated>${more}</IsTruncated>${more ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''}${contents.join('')}</ListBucketResult>`,
    );
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    requests,
    failNext: (times, status, code) =>
      failures.push(...Array.from({ length: times }, () => ({ status, code }))),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
}

function sendXml(response: ServerResponse, xml: string, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<?xml version="1.0"?>${xml}`);
}

function sendError(response: ServerResponse, status: number, code: string): void {
  sendXml(response, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`, status);
}
