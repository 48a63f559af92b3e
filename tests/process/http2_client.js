// Asks an address as node's http2 does, all at once: node http2_client.js CA|- URL BODY COUNT.
const fs = require("fs");
const http2 = require("http2");

const [ca, url, body, count] = process.argv.slice(2);
const session = http2.connect(new URL(url).origin, ca === "-" ? {} : { ca: fs.readFileSync(ca) });
session.on("error", (error) => { console.log(error.message); process.exitCode = 1; });
const one = () => new Promise((done) => {
  const stream = session.request({ ":method": "POST", ":path": new URL(url).pathname, "content-type": "application/json" });
  let status, size = 0;
  stream.on("response", (fields) => { status = fields[":status"]; });
  stream.on("data", (part) => { size += part.length; });
  stream.on("error", (error) => done(error.message));
  stream.on("end", () => done(`${session.alpnProtocol} ${status} ${size > 0}`));
  stream.end(body);
});
Promise.all(Array.from({ length: Number(count) }, one)).then((said) => {
  console.log(said.join("\n"));
  session.close();
});
