// Node's fetch (undici), axios or got at work: client.js LIBRARY WHAT URL. Prints what python_client.py prints.
'use strict';
const {Readable} = require('stream');
const [library, what, url] = process.argv.slice(2);
const text = '{"text": "we bake bread and cakes for the whole town"}';

function report(status, sees = '', body = '', events = 0) {
  console.log(JSON.stringify({status, sees, body, events}));
}

// What each of them makes of a request: {body} or, for a stream, {pieces}. Of got's retries POST has to be asked for.
const libraries = {
  async axios({body, pieces}) {
    try {
      const answer = await require('axios').post(url, body ?? Readable.from(pieces), {
        headers: {'Content-Type': 'application/json'}, responseType: 'text', maxRedirects: 0, maxBodyLength: Infinity});
      report(answer.status, '', answer.data);
    } catch (failure) {
      const answer = failure.response;
      report(answer?.status ?? null, failure.message, answer ? answer.data : '');
    }
  },
  async got({body, pieces}) {
    const got = require('got');
    const options = {headers: {'Content-Type': 'application/json'}, retry: {limit: 2, methods: ['POST']}};
    try {
      const answer = await got.post(url, body ? {...options, body} : {...options, body: Readable.from(pieces), retry: 0});
      report(answer.statusCode, '', answer.body);
    } catch (failure) {
      report(failure.response?.statusCode ?? null, failure.message, failure.response?.body ?? '');
    }
  },
  async fetch({body, pieces}) {
    await ask(body ? {body} : {body: pieces, duplex: 'half'});
  },
};

async function ask(options) {
  try {
    const answer = await fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, ...options});
    report(answer.status, answer.ok ? '' : `${answer.status} ${answer.statusText}`, await answer.text());
  } catch (failure) {
    report(null, `${failure} (${failure.cause})`);
  }
}

async function* pieces() {
  for (let i = 0; i < 128; i++) yield Buffer.alloc(65536, 'x');
}

async function listen(most) {
  if (library !== 'fetch') return listen_to_stream(most);
  const leaving = new AbortController();
  const answer = await fetch(url, {signal: leaving.signal});
  let events = 0;
  try {
    for await (const part of answer.body) {
      events += (Buffer.from(part).toString().match(/^data:/gm) ?? []).length;
      if (most && events >= most) {
        break;
      }
    }
    leaving.abort();
    report(answer.status, '', '', events);
  } catch (failure) {
    report(answer.status, `${failure} (${failure.cause})`, '', events);
  }
}

// axios and got give Node's own streams.
async function listen_to_stream(most) {
  const stream = library === 'got' ? require('got').stream(url) :
      (await require('axios').get(url, {responseType: 'stream'})).data;
  let events = 0;
  try {
    for await (const part of stream) {
      events += (part.toString().match(/^data:/gm) ?? []).length;
      if (most && events >= most) break;  // which ends the stream
    }
    report(200, '', '', events);
  } catch (failure) {
    report(200, failure.message, '', events);
  }
}

(async () => {
  const post = libraries[library];
  if (what === 'ask') await post({body: text});
  if (what === 'twice') { await post({body: text}); await post({body: text}); }
  if (what === 'upload') await post({pieces: pieces()});
  if (what === 'stream') await listen(3);
  if (what === 'listen') await listen(0);
})();
