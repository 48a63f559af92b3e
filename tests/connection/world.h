#pragma once

#include <cstdint>
#include <span>
#include <string>

// A gateway's loop with its clients and its service, all on this thread and in virtual time, driven
// by a script of bytes: each byte or two is a step. Between any two turns of the loop clients send,
// drip, end, reset; the service answers in pieces, ends, resets; time passes to just before, at or
// after each limit; the conf is reloaded. A script means something whatever its bytes are, so that
// a fuzzer and a random generator can write them.
//
// The model, checked for every script:
// - answers come in order: a 200 is the answer to the request with the number that it echoes; no
//   request has two answers; after an answer that says close nothing follows;
// - when the script is over and time passes, every connection ends, every worker and place comes
//   back, and the books balance;
// - no invariant was broken, nothing was thrown.

namespace classgate::connection_test {

struct Outcome {
  std::string fault;  // what the model says; empty: all is well
  int requests = 0;   // that were sent to their last byte
  int served = 0;     // answers with 200
  int refused = 0;    // other answers
  int cut = 0;        // connections that ended in the middle of an answer
  std::uint64_t contained = 0;
};

Outcome play(std::span<const std::uint8_t> script);

}  // namespace classgate::connection_test
