// Many users at once, each with a client of its own, beside its node_modules: crowd.mjs '{"origin": "http://...",
// "users": [{"library": NAME, "key": KEY}, ...], "pause": S, "seconds": S, "patience": S}'. Each asks again and again, with a
// pause of up to S in between, and begins nothing after `seconds`; what is not over `patience` later is given up. Then a line
// of JSON for each call: {library, key, began, ended, status, tries: [{asked, told, status, wait, reason}]}; times are
// seconds since 1970, `wait` is what Retry-After-Ms said, in seconds. What does not ask by `fetch` has no tries.
import {AsyncLocalStorage} from 'node:async_hooks';
import {setTimeout as sleep} from 'node:timers/promises';

const {origin, users, pause, seconds, patience} = JSON.parse(process.argv[2]);
const now = () => (performance.timeOrigin + performance.now()) / 1000;
const asking = new AsyncLocalStorage();
const {fetch} = globalThis;

globalThis.fetch = async (...words) => {
  const asked = now();
  const answer = await fetch(...words);
  const wait = answer.headers.get('Retry-After-Ms');
  asking.getStore()?.tries.push({asked, told: now(), status: answer.status, wait: wait === null ? null : wait / 1000,
                                 reason: answer.headers.get('X-Classgate-Reason')});
  return answer;
};

const sdks = await import('./sdks.mjs');  // which find that fetch
const storms = await import('./storms.mjs');
const calls = [];
const end = now() + seconds;

async function call({library, key}, ask) {
  const course = {library, key, began: now(), tries: []};
  course.status = await asking.run(course, () => ask().then(() => 200, failure => failure.status ?? null));
  course.ended = now();
  calls.push(course);
}

async function live(user) {
  const {ask} = await {...sdks, ...storms}[user.library](origin, user.key);
  await sleep(1000 * Math.random() * pause);
  while (now() < end) {
    await call(user, ask);
    await sleep(1000 * Math.random() * pause);
  }
}

await Promise.race([Promise.all(users.map(live)), sleep(1000 * (seconds + patience))]);
process.stdout.write(calls.map(course => JSON.stringify(course) + '\n').join(''), () => process.exit());
