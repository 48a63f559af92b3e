#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

// A gateway's loop with its clients and its service, all on this thread and in virtual time, driven
// by a script of bytes: each byte or two is a step. Between any two turns of the loop clients send,
// drip, end, reset; the service answers in pieces, ends, resets; time passes to just before, at or
// after each limit; the conf is reloaded. Clients speak plainly, by TLS (in records and pieces of
// any size), and behind a PROXY header, whether the conf wants that at the moment or not. A script
// means something whatever its bytes are, so that a fuzzer and a random generator can write them.
//
// The model, checked for every script:
// - answers come in order: a 200 is the answer to the request with the number that it echoes; no
//   request has two answers; after an answer that says close nothing follows;
// - when the script is over and time passes, every connection ends, every worker and place comes
//   back, and the books balance;
// - no invariant was broken, nothing was thrown.

namespace classgate::connection_test {

struct Outcome {
  std::string fault;                  // what the model says; empty: all is well
  int requests = 0;                   // that were sent to their last byte
  int served = 0;                     // answers with 200
  int served_by_tls = 0;              // of these
  int served_introduced = 0;          // of these, behind a PROXY header
  int refused = 0;                    // other answers
  int cut = 0;                        // connections that ended in the middle of an answer
  std::vector<int> served_of_client;  // in the order in which they came
  std::uint64_t contained = 0;        // exceptions
};

enum class Wires : std::uint8_t { plain, any };

struct Manner {
  Wires wires = Wires::any;
  bool is_paced = false;  // each byte is a step, when nothing more comes of those before
};

Outcome play(std::span<const std::uint8_t> script, const Manner& manner = {});

}  // namespace classgate::connection_test
