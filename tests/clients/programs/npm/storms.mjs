// Clients that ask again at once and without end, whatever they are told: {ask} and `key` as in sdks.mjs.
import {axios_retry, p_retry} from './fetchers.mjs';

const ENDLESS = 1e9;

export {huggingface as huggingface_storms} from './sdks.mjs';  // after a 503 it does so by itself

export function p_retry_storms(origin, key) {
  return p_retry(origin, key, {retries: ENDLESS, minTimeout: 0, factor: 1});
}

export function axios_storms(origin, key) {
  return axios_retry(origin, key, {retries: ENDLESS, retryDelay: () => 0, retryCondition: () => true});
}
