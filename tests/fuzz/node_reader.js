// Reads HTTP requests with node's server and answers each with a field in which it says what it found: a HEAD gets it, too.
'use strict';
const http = require('http');
const { createHash } = require('crypto');

function answer(request, response) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    const digest = `${body.length}:${createHash('sha256').update(body).digest('hex').slice(0, 16)}`;
    const found = [request.headers['x-request-id'] || '', request.method, request.url, digest];
    response.setHeader('Found', Buffer.from(JSON.stringify(found)).toString('base64'));
    response.end();
  });
}

const server = http.createServer({ insecureHTTPParser: false, requestTimeout: 0 }, answer);
server.on('checkContinue', answer);
server.on('checkExpectation', answer);
server.on('clientError', (error, socket) => {
  // An end in the middle of a request is the sender's right.
  const isCut = error.code === 'HPE_INVALID_EOF_STATE' || error.code === 'ECONNRESET';
  socket.end(isCut ? '' : `\r\nWRONG ${error.code} ${error.reason || error.message}\r\n`);
});
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
  console.log(JSON.stringify(http.METHODS));
});
