#include "tests/connection/ordinary_minute.h"

#include <vector>

#include "tests/connection/allocations.h"

namespace classgate::connection_test {
namespace {

// What clients, the service and a conf do in an ordinary minute. The steps are World::step()'s; the
// high half of each says which client (the latest is 0), how, or which conf.
enum Step : std::uint8_t {
  connect = 0,
  request = 1,
  read = 6,
  time = 7,
  answer = 9,
  reload = 10,
  leave = 11,
  send = 14
};
constexpr std::uint8_t step(Step what, unsigned more) {
  return static_cast<std::uint8_t>(what + 16 * more);
}

// One who asks (which kind is World::write_request()'s affair), is answered, asks again, and goes.
void visit(std::vector<std::uint8_t>& script, unsigned wire) {
  script.push_back(step(connect, wire));
  for (int i = 0; i < 4; ++i) script.push_back(step(send, 0));  // its handshake
  for (const unsigned kind : {0U, 4U, 8U}) {
    script.push_back(step(request, kind));
    for (int i = 0; i < 8; ++i) {
      script.push_back(step(send, 0));
      script.push_back(step(answer, 0));
      script.push_back(step(read, 0));
    }
  }
}

std::vector<std::uint8_t> ordinary_minute() {
  std::vector<std::uint8_t> script;
  // Silent ones first: a step names one of the four latest by the low bits of what it also says.
  for (int i = 0; i < 4; ++i) script.push_back(step(connect, 0));
  visit(script, 0);
  visit(script, 1);  // TLS
  script.push_back(step(reload, 8));
  for (int i = 0; i < 3; ++i) script.push_back(step(time, 1));  // or a little later
  visit(script, 2);                                             // a PROXY header
  visit(script, 3);                                             // and TLS
  script.push_back(step(reload, 0));
  for (int i = 0; i < 3; ++i) script.push_back(step(time, 1));
  // Other times, while what was set under those before still runs.
  script.push_back(step(reload, 3));
  for (int i = 0; i < 3; ++i) script.push_back(step(time, 1));
  script.push_back(step(reload, 0));
  for (int i = 0; i < 3; ++i) script.push_back(step(time, 1));
  // More than there are workers: some wait.
  for (int i = 0; i < 4; ++i) script.push_back(step(connect, 0));
  for (unsigned i = 0; i < 4; ++i) script.push_back(step(request, i));
  for (unsigned i = 0; i < 4; ++i) script.push_back(step(send, i));
  for (int i = 0; i < 12; ++i) script.push_back(step(answer, 0));
  for (unsigned i = 0; i < 4; ++i) script.push_back(step(read, i));
  for (unsigned i = 0; i < 3; ++i) script.push_back(step(leave, i));
  script.push_back(step(time, 15));
  visit(script, 0);  // and afterwards: as in the beginning
  return script;
}

}  // namespace

Outcome play_with(std::int64_t first_bad, std::int64_t bad_count) {
  static const std::vector<std::uint8_t> script = ordinary_minute();
  Allocations::seen = 0;
  Allocations::first_bad = first_bad;
  Allocations::bad_count = bad_count;
  Outcome outcome = play(script, {.is_paced = true});
  Allocations::first_bad = 0;
  return outcome;
}

// How many clients were served less than when nothing fails.
int harmed(const Outcome& outcome, const Outcome& whole) {
  int count = 0;
  for (std::size_t i = 0; i < whole.served_of_client.size(); ++i)
    count += outcome.served_of_client[i] < whole.served_of_client[i];
  return count;
}

}  // namespace classgate::connection_test
