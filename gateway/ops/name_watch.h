#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gateway/server.h"
#include "proxy/net/resolver.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// Looks the names in upstream.servers up again as their answers age, on the loop of the process,
// not of the data path. New addresses become servers while requests flow; a name that can't be
// looked up keeps the ones it has, and one that has none yet is asked for every second. Numbers,
// Unix sockets and names in /etc/hosts do not age.
class NameWatch {
 public:
  NameWatch(proxy::net::Loop& loop, Server& server) : loop_(loop), server_(server) {}

  // By the settings in force; anew after each change of them.
  void begin();
  void end();

 private:
  struct Name {
    explicit Name(NameWatch& watch, conf::Address address);
    const conf::Address wanted;
    bool has_failed = false;
    std::size_t left_out = 0;  // addresses that are not used
    proxy::net::Timer timer;
  };
  void look_up(Name& name);
  void on_answer(Name& name, const proxy::net::Resolver::Result& answer);
  void on_failure(Name& name, bool is_known, const std::string& why);

  proxy::net::Loop& loop_;
  Server& server_;
  std::vector<std::unique_ptr<Name>> names_;
  std::unique_ptr<proxy::net::Resolver> resolver_;  // calls back with names
};

}  // namespace classgate::gateway
