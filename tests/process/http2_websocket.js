// WebSocket by an extended CONNECT, as node's http2 asks for it: node http2_websocket.js CA|- URL BYTES COUNT.
// Each of COUNT tunnels at once sends its BYTES, and hears them again; then both sides end.
const fs = require("fs");
const http2 = require("http2");

const [ca, url, bytes, count] = process.argv.slice(2);
const session = http2.connect(new URL(url).origin, ca === "-" ? {} : { ca: fs.readFileSync(ca) });
session.on("error", (error) => { console.log(error.message); process.exitCode = 1; });
const one = (number) => new Promise((done) => {
  const stream = session.request({
    ":method": "CONNECT", ":protocol": "websocket", ":path": new URL(url).pathname, ":scheme": ca === "-" ? "http" : "https",
    "sec-websocket-version": "13", "sec-websocket-protocol": "chat",
  });
  const sent = Buffer.alloc(Number(bytes), String(number % 10));
  let status, accept, got = [];
  stream.on("response", (fields) => {
    status = `${fields[":status"]} ${fields["sec-websocket-protocol"]}`;
    accept = fields["sec-websocket-accept"];
    stream.end(sent);
  });
  stream.on("data", (part) => got.push(part));
  stream.on("error", (error) => done(error.message));
  stream.on("end", () => done(`${status} ${accept} ${Buffer.concat(got).equals(sent)}`));
});
session.on("remoteSettings", (settings) => {
  if (!settings.enableConnectProtocol) {
    console.log("it takes no extended CONNECT");
    return session.close();
  }
  Promise.all(Array.from({ length: Number(count) }, (_, i) => one(i))).then((said) => {
    console.log(said.join("\n"));
    session.close();
  });
});
