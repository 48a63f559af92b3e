// A library from npm at work, as its documentation shows it: client.mjs LIBRARY WHAT URL, beside its node_modules.
// Prints what python_client.py prints. WHAT as there, and: abort (three events, then it aborts).
import * as fetchers from './fetchers.mjs';
import * as sdks from './sdks.mjs';

const [library, what, url] = process.argv.slice(2);
const {origin, pathname} = new URL(url);

const print = console.log;
console.log = console.error;  // what a library says by itself

function report(status, sees = '', body = '', events = 0) {
  print(JSON.stringify({status, sees, body, events}));
}

// The libraries have many names for the same.
async function report_failure(failure, events = 0) {
  const last = failure.lastError ?? failure;
  const answer = last.httpResponse ?? last.response ?? last;
  const status = last.status ?? last.statusCode ?? last.status_code ?? answer.status ?? answer.statusCode ?? null;
  const told = last.responseBody ?? last.error ?? last.data ?? answer.data ?? answer.body ?? '';
  const body = !(told instanceof ReadableStream) ? told : answer.bodyUsed ? '' : await answer.text();
  const cause = failure.cause instanceof Error ? ` (${failure.cause.message})` : '';
  report(Number.isInteger(status) ? status : null, failure.message + cause,
         typeof body === 'string' ? body : JSON.stringify(body), events);
}

async function tell(asked) {
  try {
    await asked;
    report(200);
  } catch (failure) {
    await report_failure(failure);
  }
}

async function listen(pieces, most, leave = () => {}) {
  let events = 0;
  try {
    for await (const count of pieces) {
      events += count;
      if (most && events >= most) {
        leave();
        break;
      }
    }
    report(200, '', '', events);
  } catch (failure) {
    await report_failure(failure, events);
  }
}

const leaving = new AbortController();
const {ask, upload, pieces} = await {...sdks, ...fetchers}[library](origin);
if (what === 'ask') await tell(ask());
if (what === 'twice') { await tell(ask()); await tell(ask()); }
if (what === 'upload') await tell(upload());
if (what === 'stream') await listen(pieces(pathname), 3);  // it just stops to read, which may end the stream or not
if (what === 'abort') await listen(pieces(pathname, leaving.signal), 3, () => leaving.abort());
if (what === 'listen') await listen(pieces(pathname));
