// How a connection of HTTP/2 ends, what becomes of its requests then, and how long it may be
// silent.

#include <cerrno>
#include <string>
#include <utility>

#include "proxy/http2_upstream_connection.h"
#include "proxy/upstream_pool.h"

namespace classgate::proxy {

// ---- The end -----------------------------------------------------------------------------------

void Http2UpstreamConnection::on_lost(bool ended) {
  std::string why = connection_->stream().why_broken();
  if (ended || why.empty()) why = "it closed the connection";
  if (!has_settings_) why += " before it said anything in HTTP/2";
  lose_all(UpstreamStream::Lost::broken, why);
  end();
}

void Http2UpstreamConnection::lose_all(UpstreamStream::Lost what, const std::string& why,
                                       int error) {
  const std::uint64_t taken = bytes_taken();
  ending_.is_going_away = ending_.is_lost = true;  // nobody comes in their place
  tell_streams();                                  // some are told better
  while (!streams_.empty()) {
    Http2Upstream& stream = *streams_.back();
    stream.lose({.what = what,
                 .why = why,
                 .error = error,
                 .taken = stream.was_taken(taken),
                 .with_connection = true});
  }
}

void Http2UpstreamConnection::on_connect_timeout() {
  lose_all(UpstreamStream::Lost::unreachable, "no answer to the connection attempt", ETIMEDOUT);
  end();
}

void Http2UpstreamConnection::on_fault() {
  ending_.is_going_away = true;
  while (!streams_.empty()) streams_.back()->on_fault();
  end();
}

void Http2UpstreamConnection::wind_up() {
  ending_.is_going_away = true;
  if (streams_.empty() && !is_busy()) end();
}

void Http2UpstreamConnection::end() {
  due_.cancel();
  if (!connection_) return;
  if (session_ && why_failed_.empty() && !connection_->stream().is_broken()) {
    loop().guard([this] { session_->go_away(wire::Http2Error::none); });
    send();
  }
  pool_.close(std::move(connection_));
  owner_.on_connection_over(*this);
}

// ---- Time --------------------------------------------------------------------------------------

void Http2UpstreamConnection::watch() {
  if (!connection_ || !session_) return;  // its attempt to connect has a timer of its own
  if (!has_settings_) return wait_for(Wait::settings);
  if (streams_.empty()) return wait_for(Wait::use);
  if (pool_.settings().ping_interval.count() == 0) return wait_for(Wait::nothing);
  if (wait_ != Wait::ping) wait_for(Wait::silence);
}

void Http2UpstreamConnection::wait_for(Wait what) {
  if (std::exchange(wait_, what) == what) return;
  switch (what) {
    case Wait::nothing: return due_.cancel();
    case Wait::settings: return pool_.timeouts_.connect.set(due_);
    case Wait::use: return pool_.timeouts_.idle.set(due_);
    case Wait::silence: return pool_.timeouts_.ping_interval.set(due_);
    case Wait::ping: return pool_.timeouts_.ping.set(due_);
  }
}

void Http2UpstreamConnection::on_timeout(void* self) {
  auto& connection = *static_cast<Http2UpstreamConnection*>(self);
  connection.loop().guard([&connection] { connection.on_due(); },
                          [&connection] { connection.on_fault(); });
}

void Http2UpstreamConnection::on_due() {
  switch (std::exchange(wait_, Wait::nothing)) {
    case Wait::nothing: return;
    case Wait::settings:
      fail("it has not begun to speak HTTP/2 in upstream.connect_timeout");
      return settle();
    case Wait::use: return wind_up();
    case Wait::silence:
      session_->ping();
      wait_for(Wait::ping);
      return settle();
    case Wait::ping: fail("it has not answered PING in upstream.ping_timeout"); return settle();
  }
}

}  // namespace classgate::proxy
