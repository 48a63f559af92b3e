#include "proxy/upstream_connection.h"

#include <utility>

#include "proxy/upstream_pool.h"

namespace classgate::proxy {

UpstreamConnection::UpstreamConnection(UpstreamPool& pool, net::Loop& loop, net::Fd fd,
                                       std::size_t server, std::unique_ptr<net::TlsSession> tls)
    : pool_(&pool),
      loop_(loop),
      server_(server),
      timeout_(on_timeout, this),
      stream_(loop, std::move(fd), *this, std::move(tls)) {}

template <typename Deed>
void UpstreamConnection::guard(Deed&& deed) {
  User* const user = user_;
  loop_.guard(deed, [this, user] {
    if (user != nullptr) return user->on_fault();
    pool_->discard_idle(*this);
  });
}

// Told by the stream when something within it threw an exception.
void UpstreamConnection::on_fault() {
  if (user_ != nullptr) return user_->on_fault();
  pool_->discard_idle(*this);
}

void UpstreamConnection::on_readable() {
  guard([this] {
    if (user_ != nullptr)
      user_->on_upstream_readable();
    else
      pool_->listen_to_idle(*this);
  });
}

void UpstreamConnection::on_drained() {
  guard([this] {
    if (waits_ == Waits::to_stand) {
      cancel_timeout();
      if (!stream_.is_broken() && !is_of_check_) pool_->mark_reachable(server_);
    }
    if (user_ == nullptr) return;
    if (stream_.is_broken())
      user_->on_upstream_readable();
    else
      user_->on_upstream_drained();
  });
}

void UpstreamConnection::await_proof() {
  stream_.drop_pending();
  set_timeout(pool_->timeouts_.proof, Waits::for_proof);
}

void UpstreamConnection::set_timeout(net::TimeoutList& list, Waits what) {
  waits_ = what;
  list.set(timeout_);
}

void UpstreamConnection::cancel_timeout() {
  waits_ = Waits::nothing;
  timeout_.cancel();
}

void UpstreamConnection::on_due() {
  guard([this] {
    switch (std::exchange(waits_, Waits::nothing)) {
      case Waits::to_stand: return user_->on_connect_timeout();
      case Waits::for_proof: return user_->on_proof_timeout();
      case Waits::for_use: return pool_->discard_idle(*this);
      case Waits::nothing: return;
    }
  });
}

}  // namespace classgate::proxy
