#include "proxy/upstream_connection.h"

#include "proxy/upstream_pool.h"

namespace classgate::proxy {

UpstreamConnection::UpstreamConnection(UpstreamPool& pool, net::Loop& loop, net::Fd fd,
                                       std::size_t server, std::unique_ptr<net::TlsSession> tls)
    : pool_(pool),
      server_(server),
      deadline_(on_deadline, this),
      stream_(loop, std::move(fd), *this, std::move(tls)) {}

void UpstreamConnection::on_readable() {
  if (user_ != nullptr)
    user_->on_upstream_readable();
  else
    pool_.discard_idle(*this);  // closed, or it speaks without being asked: of no use either way
}

void UpstreamConnection::on_drained() {
  if (deadline_.is_set() && user_ != nullptr) {  // connected
    deadline_.cancel();
    if (!stream_.is_broken()) pool_.mark_reachable(server_);
  }
  if (user_ == nullptr) return;
  if (stream_.is_broken())
    user_->on_upstream_readable();
  else
    user_->on_upstream_drained();
}

void UpstreamConnection::on_due() {
  if (user_ != nullptr)
    user_->on_connect_timeout();
  else
    pool_.discard_idle(*this);
}

}  // namespace classgate::proxy
