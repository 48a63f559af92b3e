#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "admission/ids.h"
#include "conf/settings.h"
#include "gateway/clients/sip_hash.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// From the kernel's randomness: one for each process.
HashKey make_hash_key();

// Who is asking, as a number: what the client names itself by ([fairness], [[plan]]), hashed with a
// key ([clients] secret), so that nobody can aim at another's number and the name itself is kept
// nowhere. In print: clients/pseudonym.h. Who names nothing is known by its address (IPv6: by its
// /64). Immutable; any thread.
class ClientIdentities {
 public:
  struct Identity {
    std::uint64_t id = 0;  // 0: nobody wants to know
    admission::PlanId plan{};
    // What tells it, as long as these identities live; null: its address.
    const conf::IdentitySource* source = nullptr;
    // A field that names is there twice, or nearly ("X_Api_Key"): we would believe one, and the
    // service the other.
    bool is_ambiguous = false;
  };
  struct Facts {
    const proxy::wire::Head& head;
    conf::IpAddress address;       // the real client's
    std::string_view tls_subject;  // of a verified certificate; empty: none
  };

  // `ids`: of the routes and plans of these settings.
  ClientIdentities(const conf::Settings& settings, const admission::Ids& ids, const HashKey& key);

  bool is_on() const { return settings_.is_on; }
  bool wants_tls_subject() const { return wants_tls_subject_; }
  Identity of(const Facts& facts, admission::RouteId route) const;
  // Of a client that is known by its address.
  std::uint64_t id_of(conf::IpAddress address) const;

  // What a request says of itself being a retry: X-Retry-Count, X-Stainless-Retry-Count (OpenAI,
  // Anthropic) or grpc-previous-rpc-attempts (gRFC A6) above 0, x-envoy-attempt-count or attempt=
  // in amz-sdk-request, which count the first one too, above 1; and a number that stands for its
  // Idempotency-Key (0: none), for this client and path. An X-Request-Id tells nothing: the calls
  // of one trace share it, and run beside each other.
  struct Attempt {
    bool is_retry = false;
    std::uint64_t key = 0;
  };
  Attempt attempt_of(const proxy::wire::Head& head, std::uint64_t client,
                     std::string_view path) const;

 private:
  using Sources = std::vector<conf::IdentitySource>;
  const Sources& sources_of(admission::RouteId route) const {
    const Sources* const own = route_sources_.find(route);
    return own ? *own : settings_.identity;
  }
  std::uint64_t hash(const conf::IdentitySource& source, std::string_view name) const;
  Identity with_plan(std::uint64_t id, const conf::IdentitySource* source) const;

  conf::FairnessSettings settings_;
  admission::ById<admission::RouteId, Sources> route_sources_;  // of those that have their own
  HashKey key_;
  std::unordered_map<std::uint64_t, admission::PlanId> plans_;
  bool wants_tls_subject_ = false;
};

}  // namespace classgate::gateway
