// HTTP clients of npm, and what tries again around them. {ask, upload, pieces} as in sdks.mjs. Of a POST no client tries
// again unless it is told that it may. `key`: what the client says of who it is; undefined: nothing.
import {Readable} from 'node:stream';

const text = '{"text": "we bake bread and cakes for the whole town"}';
const headers = {'Content-Type': 'application/json'};
const path = '/v1/classify';
const RETRIES = 2;
const said_with = key => key ? {Authorization: `Bearer ${key}`} : {};

async function* parts() {
  for (let i = 0; i < 128; i++) yield Buffer.alloc(65536, 'x');
}

async function* counted(parts) {
  for await (const part of await parts) yield (Buffer.from(part).toString().match(/^data:/gm) ?? []).length;
}

async function made_of_axios(origin, client) {
  const options = {headers, responseType: 'text', maxRedirects: 0, maxBodyLength: Infinity};
  return {
    ask: () => client.post(origin + path, text, options),
    upload: () => client.post(origin + path, Readable.from(parts()), {...options, 'axios-retry': {retries: 0}}),
    pieces: (events, signal) => counted(client.get(origin + events, {responseType: 'stream', signal}).then(answer => answer.data)),
  };
}

export async function axios(origin) {
  const {default: axios} = await import('axios');
  return made_of_axios(origin, axios);
}

export async function axios_retry(origin, key, options = {}) {
  const {default: axios} = await import('axios');
  const {default: axiosRetry, isRetryableError} = await import('axios-retry');
  const client = axios.create({headers: said_with(key)});
  axiosRetry(client, {retries: RETRIES, retryCondition: isRetryableError, ...options});
  return made_of_axios(origin, client);
}

export async function got(origin) {
  const {default: got} = await import('got');
  return {
    ask: () => got.post(origin + path, {headers, body: text, retry: {limit: RETRIES, methods: ['POST']}}),
    upload: () => got.post(origin + path, {headers, body: Readable.from(parts()), retry: {limit: 0}}),
    pieces: (events, signal) => counted(got.stream(origin + events, {signal})),
  };
}

export async function ky(origin) {
  const {default: ky} = await import('ky');
  return {
    ask: () => ky.post(origin + path, {headers, body: text, retry: {limit: RETRIES, methods: ['post']}}).text(),
    upload: () => ky.post(origin + path, {headers, body: Readable.toWeb(Readable.from(parts())), duplex: 'half', retry: 0}).text(),
    pieces: (events, signal) => counted(ky.get(origin + events, {signal}).then(answer => answer.body)),
  };
}

export async function undici_retry(origin, options = {}) {
  const {Agent, RetryAgent, request} = await import('undici');
  const dispatcher = new RetryAgent(new Agent(), {maxRetries: RETRIES, methods: ['GET', 'POST'], ...options});
  const post = async (body, dispatcher) => {
    const answer = await request(origin + path, {method: 'POST', headers, body, dispatcher});
    const told = await answer.body.text();
    if (answer.statusCode !== 200) throw Object.assign(new Error(`${answer.statusCode}`), {statusCode: answer.statusCode, body: told});
  };
  return {
    ask: () => post(text, dispatcher),
    upload: () => post(Readable.from(parts()), new Agent()),
    pieces: (events, signal) => counted(request(origin + events, {dispatcher, signal}).then(answer => answer.body)),
  };
}

// The last answer in the end, as we recommend.
export function undici_retry_passes_on(origin) {
  return undici_retry(origin, {throwOnError: false});
}

async function fetched(url, options) {
  const answer = await fetch(url, options);
  if (answer.ok) return answer.text();
  const failure = new Error(`${answer.status} ${answer.statusText}`);
  throw Object.assign(failure, {status: answer.status, headers: answer.headers, body: await answer.text()});
}

export async function p_retry(origin, key, options = {}) {
  const {default: pRetry} = await import('p-retry');
  const post = () => fetched(origin + path, {method: 'POST', headers: {...headers, ...said_with(key)}, body: text});
  return {
    ask: () => pRetry(post, {retries: RETRIES, ...options}),
    upload: () => fetched(origin + path, {method: 'POST', headers, body: parts(), duplex: 'half'}),
    pieces: (events, signal) => counted(fetch(origin + events, {signal}).then(answer => answer.body)),
  };
}

// As we recommend: it comes back when it is told, and where that helps.
export function p_retry_reads(origin, key) {
  return p_retry(origin, key, {
    minTimeout: 0,
    shouldRetry: ({error}) => error.headers?.get('X-Should-Retry') === 'true',
    onFailedAttempt: async ({error, retriesLeft}) => {
      const wait = Number(error.headers?.get('Retry-After-Ms'));
      if (retriesLeft && wait) await new Promise(resolve => setTimeout(resolve, wait));
    },
  });
}
