#pragma once

#include <memory>

#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"

namespace classgate::proxy {

class UpstreamPool;

// One connection to one server. Owned by the pool while it is idle, by a Forwarding while it
// carries an exchange.
class UpstreamConnection final : public net::Retirable, private net::Stream::Handler {
 public:
  // The Forwarding that uses the connection.
  class User {
   public:
    virtual void on_upstream_readable() = 0;  // also when it failed to connect, closed or reset
    virtual void on_upstream_drained() = 0;
    virtual void on_connect_timeout() = 0;
    virtual void on_proof_timeout() = 0;  // after await_proof()
    // An exception came out of one of these: the exchange ends, and with it its connection.
    virtual void on_fault() = 0;

   protected:
    ~User() = default;
  };

  UpstreamConnection(UpstreamPool& pool, net::Loop& loop, net::Fd fd, std::size_t server,
                     std::unique_ptr<net::TlsSession> tls = nullptr);

  net::Stream& stream() { return stream_; }
  std::size_t server() const { return server_; }
  // It has carried an exchange before: the server may have closed it at any time since.
  bool is_reused() const { return uses_ > 1; }
  // That it stands tells nothing of its server: it is a check's, whose answer tells.
  void belong_to_check() { is_of_check_ = true; }
  // It is lost to its user, who waits for a sign of what became of the request: on_proof_timeout()
  // comes when none did in time. Nothing more is written.
  void await_proof();

 private:
  friend class UpstreamPool;
  void on_readable() override;
  void on_drained() override;
  void on_fault() override;
  static void on_timeout(void* self) { static_cast<UpstreamConnection*>(self)->on_due(); }
  void on_due();
  // Should the deed throw, whoever has the connection now ends; it may have been given back by
  // then.
  template <typename Deed>
  void guard(Deed&& deed);

  // What the timeout is for; it is cancelled, or set anew, whenever that changes.
  enum class Waits : std::uint8_t { nothing, to_stand, for_proof, for_use };
  void set_timeout(net::TimeoutList& list, Waits what);
  void cancel_timeout();

  UpstreamPool* pool_;  // changes when another pool goes on in its place
  net::Loop& loop_;
  std::size_t server_;
  User* user_ = nullptr;  // null while idle
  unsigned uses_ = 0;
  Waits waits_ = Waits::nothing;
  bool is_of_check_ = false;
  net::Timeout timeout_;
  net::Stream stream_;
};

}  // namespace classgate::proxy
