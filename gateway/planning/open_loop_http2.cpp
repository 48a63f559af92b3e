// Requests of an open loop that share connections.

#include <algorithm>
#include <utility>

#include "gateway/planning/open_loop.h"

namespace classgate::planning {

using simulation::Ending;

namespace {

constexpr std::uint8_t attempts_max = 3;

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
  if (connection.http2->room() > 0) idle_.push_back(index);
  if (!is_taken) {  // its numbers are used up: another one is opened
    call.connection = none;
    --call.attempts;
    backlog_.push_back(slot);
    return;
  }
  push_frames(index);
}

void OpenLoop::push_frames(std::uint32_t index) {
  Connection& connection = *connections_[index];
  if (connection.written == connection.out.size()) {
    connection.out.clear();
    connection.written = 0;
  }
  if (!connection.http2->take_output(connection.out)) return broke(index, Answers::not_http);
  if (!connection.is_connecting) flush(index);
}

// False: the connection is gone.
bool OpenLoop::take_frames(std::uint32_t index, std::string_view bytes) {
  Connection& connection = *connections_[index];
  const bool had_room = connection.http2->room() > 0;
  const bool is_good = connection.http2->receive(bytes);
  const auto answers = connection.http2->take_answers();
  for (const Http2Line::Answer& answer : answers) take_stream_answer(index, answer);
  if (!is_good) {
    broke(index, Answers::not_http);
    return false;
  }
  const bool has_room = connection.http2->room() > 0;
  if (has_room && !had_room) idle_.push_back(index);
  if (!has_room && had_room) std::erase(idle_, index);
  push_frames(index);
  return connections_[index].get() == &connection;
}

void OpenLoop::take_stream_answer(std::uint32_t index, const Http2Line::Answer& answer) {
  Call& call = calls_[answer.call];
  if (!call.is_active || call.connection != index) return;
  call.connection = none;
  if (answer.was_not_taken && call.attempts < attempts_max) return backlog_.push_back(answer.call);
  if (answer.status == 0) {
    ++answers_.faults[Answers::closed];
    return end(answer.call, {Ending::Kind::failed, conf::Reason::upstream_unreachable, {}});
  }
  ++answers_.statuses[answer.status];
  if (options_.calls_grpc) ++answers_.calls[answer.grpc_status];
  // We may be late to notice that its client would have gone before.
  const bool has_left = now() - call.wish.at > call.wish.patience;
  end(answer.call, has_left ? Ending{Ending::Kind::abandoned, {}, {}} : answer.ending);
}

void OpenLoop::lose_streams(std::uint32_t index, int fault) {
  const std::unique_ptr<Http2Line> line = std::move(connections_[index]->http2);
  std::erase(idle_, index);
  drop(index);
  for (const std::uint32_t slot : line->calls()) {
    if (!calls_[slot].is_active || calls_[slot].connection != index) continue;
    ++answers_.faults[fault];
    end(slot, {Ending::Kind::failed, conf::Reason::upstream_unreachable, {}});
  }
}

// Nobody waits for it any more.
void OpenLoop::leave(std::uint32_t slot) {
  const std::uint32_t index = calls_[slot].connection;
  Connection& connection = *connections_[index];
  if (!connection.http2) return drop(index);
  const bool had_room = connection.http2->room() > 0;
  connection.http2->leave(slot);
  if (!had_room && connection.http2->room() > 0) idle_.push_back(index);
  push_frames(index);
}

}  // namespace classgate::planning
