// SDKs of model services: each has its own path, and is asked as its first example does. {ask, upload, pieces}: what a
// client is asked for, 8 MiB that may not be sent twice, and a stream as counts of its events, which a signal ends. A prompt
// names the stream. `key`: what the client says of who it is.

const BIG = 8 << 20;
const anyone = 'none';
const model = 'm';
const said = content => [{role: 'user', content}];
const bytes = () => Buffer.alloc(BIG, 'x');

// Those that are made as OpenAI's is.
async function* each(stream, is_piece = () => true) {
  for await (const piece of await stream) if (is_piece(piece)) yield 1;
}

export async function openai(origin, key = anyone) {
  const {default: OpenAI, toFile} = await import('openai');
  const client = new OpenAI({apiKey: key, baseURL: `${origin}/v1`});
  return {
    ask: () => client.chat.completions.create({model, messages: said('bread')}),
    upload: async () => client.files.create({file: await toFile(bytes(), 'f.jsonl'), purpose: 'batch'}, {maxRetries: 0}),
    pieces: (events, signal) => each(client.chat.completions.create({model, messages: said(events), stream: true}, {signal})),
  };
}

export async function groq(origin, key = anyone) {
  const {default: Groq, toFile} = await import('groq-sdk');
  const client = new Groq({apiKey: key, baseURL: origin});
  return {
    ask: () => client.chat.completions.create({model, messages: said('bread')}),
    upload: async () => client.audio.transcriptions.create({model, file: await toFile(bytes(), 'f.wav')}, {maxRetries: 0}),
    pieces: (events, signal) => each(client.chat.completions.create({model, messages: said(events), stream: true}, {signal})),
  };
}

export async function anthropic(origin, key = anyone) {
  const {default: Anthropic, toFile} = await import('@anthropic-ai/sdk');
  const client = new Anthropic({apiKey: key, baseURL: origin});
  const asked = content => ({model, max_tokens: 100, messages: said(content)});
  return {
    ask: () => client.messages.create(asked('bread')),
    upload: async () => client.beta.files.upload({file: await toFile(bytes(), 'f.txt', {type: 'text/plain'})}, {maxRetries: 0}),
    pieces: (events, signal) => each(client.messages.create({...asked(events), stream: true}, {signal}),
                           piece => piece.type === 'content_block_delta'),
  };
}

export async function cohere(origin, key = anyone) {
  const {CohereClientV2} = await import('cohere-ai');
  const client = new CohereClientV2({token: key, environment: origin});
  return {
    ask: () => client.chat({model, messages: said('bread')}),
    upload: () => client.chat({model, messages: said('x'.repeat(BIG))}, {maxRetries: 0}),
    pieces: (events, signal) => each(client.chatStream({model, messages: said(events)}, {abortSignal: signal})),
  };
}

export async function mistral(origin, key = anyone) {
  const {Mistral} = await import('@mistralai/mistralai');
  const client = new Mistral({apiKey: key, serverURL: origin});
  return {
    ask: () => client.chat.complete({model, messages: said('bread')}),
    upload: () => client.files.upload({file: {fileName: 'f.jsonl', content: bytes()}}),
    pieces: (events, signal) => each(client.chat.stream({model, messages: said(events)}, {signal})),
  };
}

// Its back-off has to be asked for.
export async function mistral_retries(origin, key = anyone) {
  const {Mistral} = await import('@mistralai/mistralai');
  const backoff = {initialInterval: 500, maxInterval: 60000, exponent: 1.5, maxElapsedTime: 5000};
  const client = new Mistral({apiKey: key, serverURL: origin, retryConfig: {strategy: 'backoff', backoff}});
  return {...await mistral(origin, key), ask: () => client.chat.complete({model, messages: said('bread')})};
}

export async function huggingface(origin, key = anyone) {
  const {InferenceClient} = await import('@huggingface/inference');
  const client = new InferenceClient(key, {endpointUrl: origin});
  return {
    ask: () => client.chatCompletion({model, messages: said('bread')}),
    upload: () => client.chatCompletion({model, messages: said('x'.repeat(BIG))}, {retry_on_error: false}),
    pieces: (events, signal) => each(client.chatCompletionStream({model, messages: said(events)}, {signal})),
  };
}

export async function replicate(origin, key = anyone) {
  const {default: Replicate} = await import('replicate');
  const client = new Replicate({auth: key, baseUrl: `${origin}/v1`});
  return {
    ask: () => client.run('owner/model', {input: {prompt: 'bread'}}),
    upload: () => client.files.create(bytes()),
    pieces: (events, signal) => each(client.stream('owner/model', {input: {prompt: events}, signal})),
  };
}

export async function vercel(origin, key = anyone) {
  const {generateText, streamText} = await import('ai');
  const {createOpenAI} = await import('@ai-sdk/openai');
  const chat = createOpenAI({apiKey: key, baseURL: `${origin}/v1`}).chat(model);
  return {
    ask: () => generateText({model: chat, prompt: 'bread'}),
    upload: () => generateText({model: chat, prompt: 'x'.repeat(BIG), maxRetries: 0}),
    pieces: (events, signal) => each(streamText({model: chat, prompt: events, abortSignal: signal}).textStream),
  };
}

export async function langchain(origin, key = anyone, options = {}) {
  const {ChatOpenAI} = await import('@langchain/openai');
  const made = more => new ChatOpenAI({model, apiKey: key, configuration: {baseURL: `${origin}/v1`}, ...options, ...more});
  const client = made({});
  return {
    ask: () => client.invoke('bread'),
    upload: () => made({maxRetries: 0}).invoke('x'.repeat(BIG)),
    pieces: (events, signal) => each(client.stream(events, {signal}), piece => piece.content),
  };
}

// As we recommend: it comes back when it is told, and where that helps.
export function langchain_reads(origin, key = anyone) {
  return langchain(origin, key, {onFailedAttempt: error => {
    if (error.headers?.get('X-Should-Retry') !== 'true') throw error;
    error.retryAfterMs = Number(error.headers.get('Retry-After-Ms'));
  }});
}

export async function ollama(origin, key = anyone) {
  const {Ollama} = await import('ollama');
  const client = new Ollama({host: origin});
  return {
    ask: () => client.chat({model, messages: said('bread')}),
    upload: () => client.chat({model, messages: said('x'.repeat(BIG))}),
    pieces: (events, signal) => {
      signal?.addEventListener('abort', () => client.abort());
      return each(client.chat({model, messages: said(events), stream: true}), piece => !piece.done);
    },
  };
}

export async function genai(origin, key = anyone) {
  const {GoogleGenAI} = await import('@google/genai');
  const client = new GoogleGenAI({apiKey: key, httpOptions: {baseUrl: origin}});
  return {
    ask: () => client.models.generateContent({model, contents: 'bread'}),
    upload: () => client.models.generateContent({model, contents: 'x'.repeat(BIG)}),
    pieces: (events, signal) => each(client.models.generateContentStream({model, contents: events, config: {abortSignal: signal}})),
  };
}
