// A service as one writes it for Node: on 127.0.0.1, on ::1 with the same port, and on the path that it is given.
const http = require("http");

function answer(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    if (request.url === "/chunked") {
      for (const octet of body) response.write(Buffer.from([octet]));
      response.end();
    } else if (request.url === "/early") {
      response.writeProcessing();
      response.end("late");
    } else if (request.url === "/last") {
      response.shouldKeepAlive = false;
      response.end("last");
    } else {
      response.setHeader("X-From", String(request.socket.remotePort));
      response.setHeader("Content-Length", body.length + request.method.length);
      response.end(request.method + body);
    }
  });
}

function tunnel(request, socket, head) {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  socket.write(head);
  socket.on("data", (part) => socket.write(part));
  socket.on("end", () => socket.end("end"));
}

const make = () => http.createServer(answer).on("upgrade", tunnel);
const four = make().listen(0, "127.0.0.1", () => {
  const port = four.address().port;
  const ready = () => make().listen(process.argv[2], () => console.log("port", port));
  make().on("error", ready).listen(port, "::1", ready);
});
