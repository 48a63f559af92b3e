// Requests of an open loop that share connections.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "gateway/planning/open_loop.h"

namespace classgate::planning {

using simulation::Ending;

namespace {

constexpr std::uint8_t attempts_max = 3;
constexpr int parts_of_rest_max = 64;

}  // namespace

// A connection stands among those that are idle as long as it has room.
void OpenLoop::start_stream(std::uint32_t index, std::uint32_t slot) {
  Connection& connection = *connections_[index];
  Call& call = calls_[slot];
  const Question own = options_.question_of ? options_.question_of(call.wish) : Question();
  const Question& group = options_.question_of
                              ? own
                              : groups_[std::min<std::size_t>(call.wish.group, groups_.size() - 1)];
  call.connection = index;
  ++call.attempts;
  latest_start_ = std::max(latest_start_, now() - call.wish.at);
  const bool is_taken =
      connection.http2->ask(slot, group, options_.host, fields_of(group, call.wish));
  if (!is_taken) {  // its numbers are used up: another one is opened
    call.connection = none;
    --call.attempts;
    backlog_.push_back(slot);
  }
  settle(index, true);
}

// False: the connection is gone.
bool OpenLoop::take_frames(std::uint32_t index, std::string_view bytes) {
  const Connection* const connection = connections_[index].get();
  settle(index, connection->http2->receive(bytes));
  return connections_[index].get() == connection;
}

// Whatever was said to a line ends here, so that no call ends unheard: what it has to send goes
// out, what has ended is taken, and a line of no use any more is lost with all that it has. A
// session that failed may even end calls as it says so.
void OpenLoop::settle(std::uint32_t index, bool is_good) {
  Connection& connection = *connections_[index];
  Http2Line& line = *connection.http2;
  if (connection.written == connection.out.size()) {
    connection.out.clear();
    connection.written = 0;
  }
  if (is_good) is_good = line.take_output(connection.out);
  take_stream_answers(index, line);
  if (!is_good || line.is_over()) return lose_streams(index, line.fault());
  const bool has_room = line.room() > 0;
  if (has_room && !connection.is_idle) idle_.push_back(index);
  if (!has_room && connection.is_idle) std::erase(idle_, index);
  connection.is_idle = has_room;
  if (!connection.is_connecting) flush(index);
}

void OpenLoop::lose_streams(std::uint32_t index, int fault) {
  const proxy::net::Fd fd = std::move(connections_[index]->fd);
  const std::unique_ptr<Http2Line> line = std::move(connections_[index]->http2);
  std::erase(idle_, index);
  drop(index);
  // What could not be written says nothing of what came before: a server of HTTP/1 answers to the
  // preface, and closes.
  std::array<char, 16 * 1024> rest;
  for (int parts = 0; fault > 0 && parts < parts_of_rest_max; ++parts) {
    const ssize_t got = ::recv(fd.get(), rest.data(), rest.size(), 0);
    if (got <= 0 || !line->receive({rest.data(), static_cast<std::size_t>(got)})) break;
  }
  line->lose(line->is_http1() ? Answers::only_http1 : fault);
  take_stream_answers(index, *line);
}

void OpenLoop::take_stream_answers(std::uint32_t index, Http2Line& line) {
  for (const Http2Line::Answer& answer : line.take_answers()) take_stream_answer(index, answer);
}

void OpenLoop::take_stream_answer(std::uint32_t index, const Http2Line::Answer& answer) {
  Call& call = calls_[answer.call];
  if (!call.is_active || call.connection != index) return;
  call.connection = none;
  if (answer.was_not_taken && call.attempts < attempts_max) return backlog_.push_back(answer.call);
  if (answer.status == 0) {
    ++answers_.faults[answer.fault];
    return end(answer.call, {Ending::Kind::failed, conf::Reason::upstream_unreachable, {}});
  }
  ++answers_.statuses[answer.status];
  if (options_.calls_grpc) ++answers_.calls[answer.grpc_status];
  // We may be late to notice that its client would have gone before.
  const bool has_left = now() - call.wish.at > call.wish.patience;
  end(answer.call, has_left ? Ending{Ending::Kind::abandoned, {}, {}} : answer.ending);
}

// Nobody waits for it any more.
void OpenLoop::leave(std::uint32_t slot) {
  const std::uint32_t index = calls_[slot].connection;
  Connection& connection = *connections_[index];
  if (!connection.http2) return drop(index);
  calls_[slot].connection = none;
  connection.http2->leave(slot);
  settle(index, true);
}

}  // namespace classgate::planning
