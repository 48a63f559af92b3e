#include "proxy/server_check.h"

#include <cerrno>
#include <system_error>

#include "proxy/upstream_pool.h"

namespace classgate::proxy {

ServerCheck::ServerCheck(UpstreamPool& pool, std::size_t server, Kind kind)
    : pool_(pool), server_(server), kind_(kind), timeout_(on_timeout, this) {
  ask();
}

// An exception within the gateway counts as a failed check: the next one comes when it is due.
void ServerCheck::on_fault() {
  if (stream_ || http2_) conclude("the check failed within the gateway: see the log");
}

void ServerCheck::on_timeout(void* self) {
  auto& check = *static_cast<ServerCheck*>(self);
  check.pool_.loop().guard([&check] { check.on_due(); }, [&check] { check.on_fault(); });
}

void ServerCheck::on_due() {
  if (stream_ || http2_)
    on_late();
  else
    ask();
}

void ServerCheck::on_late() {
  Servers& servers = pool_.servers();
  const bool is_last = servers.state(server_) != Servers::State::unreachable &&
                       servers.reachable_count() == 1 && servers.requests(server_) > 0;
  const bool is_busy =
      kind_ == Kind::check && (is_last || servers.has_answered_since(server_, asked_at_));
  if (!is_busy) return conclude("no answer in time");
  retired_stream_ = std::move(stream_);
  end_http2();
  pool_.timeouts_.check_interval.set(timeout_);
}

void ServerCheck::ask() {
  retired_stream_.reset();
  // A request of a client may have reached the server meanwhile: then there is nothing to find out.
  if (kind_ == Kind::probe && pool_.servers().state(server_) == Servers::State::reachable) return;
  (kind_ == Kind::probe ? pool_.timeouts_.connect : pool_.timeouts_.check).set(timeout_);
  asked_at_ = pool_.loop().now();
  if (kind_ == Kind::check && pool_.speaks_http2(server_)) return ask_by_http2();
  ask_by_http1();
}

void ServerCheck::ask_by_http2() {
  Asker& asker = *this;
  http2_ = std::make_unique<Http2Check>(pool_, asker, server_);
  const int error = http2_->ask();
  if (error == 0) return;
  end_http2();
  if (UpstreamPool::is_our_fault(error)) return;  // asked again when the answer would be due
  conclude(std::generic_category().message(error));
}

void ServerCheck::on_http1_instead() {
  end_http2();
  ask_by_http1();
}

void ServerCheck::end_http2() {
  if (!http2_) return;
  http2_->stop();
  pool_.loop().retire(std::move(http2_));
}

void ServerCheck::ask_by_http1() {
  if (kind_ == Kind::check && pool_.settings().check.grpc)
    return conclude("it speaks HTTP/1.1, in which there is no gRPC");
  int error = 0;
  stream_ = pool_.open_stream(server_, *this, error);
  if (!stream_) {
    if (UpstreamPool::is_our_fault(error)) return;  // asked again when the answer would be due
    return conclude(std::generic_category().message(error));
  }
  if (kind_ == Kind::probe) return;
  answer_.clear();
  parser_.begin(wire::Parser::Kind::response, pool_.answer_limits());
  stream_->write("GET " + pool_.settings().check.path +
                 " HTTP/1.1\r\nHost: " + pool_.servers().authority(server_) +
                 "\r\nUser-Agent: classgate-check\r\nConnection: close\r\n\r\n");
}

void ServerCheck::on_drained() {
  if (!stream_) return;
  if (stream_->is_broken()) return conclude(stream_->why_broken());
  if (kind_ == Kind::probe) conclude({});
}

void ServerCheck::on_readable() {
  while (stream_ && kind_ == Kind::check && stream_->may_read() && !stream_->is_connecting())
    read_answer();
  if (!stream_ && retired_stream_) read_rest();
}

void ServerCheck::read_rest() {
  constexpr int reads_in_a_turn = 16;  // then the others' turn
  for (int i = 0; i < reads_in_a_turn; ++i) {
    if (!retired_stream_->may_read() || retired_stream_->is_connecting()) return;
    switch (retired_stream_->read(pool_.loop().read_scratch()).what) {
      case net::Stream::Read::some: continue;
      case net::Stream::Read::nothing_now: return;
      case net::Stream::Read::end:
        retired_stream_->shutdown_write();
        return retired_stream_->give_up();
      case net::Stream::Read::broken: return retired_stream_->give_up();
    }
  }
  retired_stream_->read_again_soon();
}

void ServerCheck::read_answer() {
  const std::span<char> scratch = pool_.loop().read_scratch();
  const net::Stream::ReadResult result = stream_->read(scratch);
  switch (result.what) {
    case net::Stream::Read::nothing_now: return;
    case net::Stream::Read::end: return conclude("it closed the connection without an answer");
    case net::Stream::Read::broken: return conclude(stream_->why_broken());
    case net::Stream::Read::some: break;
  }
  answer_.append(scratch.data(), result.size);
  int status = 0;
  while (status < 200) {  // interim answers come before the answer (RFC 9110 section 15.2)
    switch (parser_.parse_head(answer_)) {
      case wire::Parser::Progress::need_more: return stream_->look_again();
      case wire::Parser::Progress::fault:
        return conclude("its answer is malformed: " + parser_.why());
      case wire::Parser::Progress::done: break;
    }
    status = parser_.head().status;
    answer_.erase(0, parser_.head_size());
    parser_.begin(wire::Parser::Kind::response, pool_.answer_limits());
  }
  const bool is_well = status >= 200 && status <= 399;
  conclude(is_well ? std::string() : "it answered " + std::to_string(status));
}

void ServerCheck::conclude(const std::string& why) {
  retired_stream_ = std::move(stream_);  // we may be called by it
  end_http2();
  std::string().swap(answer_);
  const bool is_well = why.empty();
  passes_ = is_well ? passes_ + 1 : 0;
  failures_ = is_well ? 0 : failures_ + 1;
  if (kind_ == Kind::probe) {
    if (is_well) {
      pool_.mark_reachable(server_);
      pool_.end_probe(server_);
    } else {
      pool_.timeouts_.probe_interval.set(timeout_);
      pool_.note_unreachable(server_, why);
    }
    return;
  }
  pool_.timeouts_.check_interval.set(timeout_);
  const conf::CheckSettings& law = pool_.settings().check;
  const bool is_new = pool_.servers().state(server_) == Servers::State::unknown;
  if (failures_ >= law.fall) pool_.note_unreachable(server_, "check: " + why);
  if (passes_ >= law.rise || (is_well && is_new)) pool_.mark_reachable(server_);
}

}  // namespace classgate::proxy
