// Node's fetch (undici) at work: client.js WHAT URL. Prints what python_client.py prints.
'use strict';
const [what, url] = process.argv.slice(2);
const text = '{"text": "we bake bread and cakes for the whole town"}';

function report(status, sees = '', body = '', events = 0) {
  console.log(JSON.stringify({status, sees, body, events}));
}

async function ask(options) {
  try {
    const answer = await fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: text, ...options});
    report(answer.status, answer.ok ? '' : `${answer.status} ${answer.statusText}`, await answer.text());
  } catch (failure) {
    report(null, `${failure} (${failure.cause})`);
  }
}

async function* pieces() {
  for (let i = 0; i < 128; i++) yield Buffer.alloc(65536, 'x');
}

async function listen(most) {
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

(async () => {
  if (what === 'ask') await ask();
  if (what === 'twice') { await ask(); await ask(); }
  if (what === 'upload') await ask({body: pieces(), duplex: 'half'});
  if (what === 'stream') await listen(3);
  if (what === 'listen') await listen(0);
})();
