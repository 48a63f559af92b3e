#include "gateway/sharing/sharing.h"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cmath>
#include <random>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/text_file.h"
#include "conf/words.h"
#include "gateway/sharing/ledger_script.h"
#include "gateway/sharing/ledger_words.h"

namespace classgate::gateway {

using proxy::net::Resolver;
using proxy::net::SocketAddress;
using proxy::net::Time;

namespace {

constexpr std::chrono::milliseconds longest_pause{250};  // so that all heals within a second
constexpr std::chrono::seconds between_complaints{60};   // of the same kind
constexpr std::chrono::seconds looks_for_predecessors{1};
constexpr std::chrono::seconds between_shows{1};  // of all gateways

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "gateway";
  return conf::printable(name.data()).substr(0, 64);
}

// Who starts anew is another one: what the process before it had in the service is not this one's.
std::string member_name(const std::string& name) {
  std::random_device random;
  return fmt::format("{}/{:08x}{:08x}", name == "auto" ? host_name() : name, random(), random());
}

std::expected<std::string, std::string> first_line_of(const std::string& path) {
  if (path.empty()) return std::string();
  const auto text = conf::read_text_file(path);
  if (!text) return std::unexpected("sharing.password_file: " + text.error());
  std::string line = text->substr(0, text->find_first_of("\r\n"));
  if (line.empty())
    return std::unexpected(
        fmt::format("sharing.password_file: {} has no password in its first line", path));
  return line;
}

std::string text_of(std::uint64_t number) { return std::to_string(number); }

}  // namespace

std::expected<std::unique_ptr<Sharing>, std::string> Sharing::open(
    const conf::SharingSettings& settings, const std::string& folder, const Limits& limits,
    Workers& workers, SharingBoard& board) {
  auto password = first_line_of(settings.password_file);
  if (!password) return std::unexpected(password.error());
  std::shared_ptr<const proxy::net::TlsConnector> tls;
  if (std::ranges::any_of(settings.redis, &conf::RedisServer::is_tls)) {
    conf::UpstreamTlsSettings trust;
    trust.ca_file = settings.ca_file;
    auto opened = proxy::net::TlsConnector::open(trust);
    if (!opened) return std::unexpected("sharing.ca_file: " + opened.error());
    tls = std::move(*opened);
  }
  return std::unique_ptr<Sharing>(
      new Sharing(settings, folder, limits, workers, board, std::move(*password), std::move(tls)));
}

Sharing::Sharing(const conf::SharingSettings& settings, const std::string& folder,
                 const Limits& limits, Workers& workers, SharingBoard& board, std::string password,
                 std::shared_ptr<const proxy::net::TlsConnector> tls)
    : settings_(settings),
      password_(std::move(password)),
      tls_(std::move(tls)),
      workers_(workers),
      board_(board),
      key_(settings.prefix + ":ledger"),
      lock_(folder + "/sharing." + settings.prefix),
      terms_{.member = member_name(settings.name),
             .workers = limits.workers,
             .lease = settings.lease,
             .request_timeout = limits.request_time_max,
             .away_max = settings.away_max,
             .when_away = settings.when_away},
      holding_(terms_),
      rates_{.holding = sharing::RateHolding({settings.period, settings.lease * 4 / 5}),
             .notes = RateNotes(settings.lease)},
      tick_(loop_, [this] { on_tick(); }),
      end_(loop_, [this] { end(); }),
      mailbox_(loop_, [this](Letter& letter) { read(letter); }),
      resolver_(loop_, {}, settings.lease) {
  health_.state = SharingHealth::State::away;
  health_.name = terms_.member;
  health_.workers = limits.workers;
  health_.server = server().text;
  health_.problem = "the ledger has not been reached yet";
}

Sharing::~Sharing() {
  finish();
  if (connection_) connection_->give_up();
}

// Before any request: until the first answer nothing of what is shared is this gateway's.
void Sharing::start() {
  const Time now = clock();
  lend(now);
  tell(now);
  look_for_predecessors(now);
  spdlog::info("sharing: {} workers with the other gateways of \"{}\", by {} (this is {})",
               terms_.workers, settings_.prefix, server().text, terms_.member);
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "sharing");
    loop_.at_exception([](const std::exception& thrown) {
      spdlog::critical("sharing: {}: it goes on with the next exchange", thrown.what());
    });
    tick_.start(std::chrono::milliseconds(0));
    loop_.run();
  });
}

void Sharing::finish() {
  if (!thread_.joinable()) return;
  mailbox_.send(Letter{{}, true});
  thread_.join();
}

void Sharing::read(const Letter& letter) {
  if (letter.is_end) return leave();
  terms_.workers = health_.workers = letter.limits.workers;
  holding_.set_limits(letter.limits.workers, letter.limits.request_time_max);
}

// ---- Each period --------------------------------------------------------------------------------

// Whatever is thrown (memory has run out) costs this one exchange.
void Sharing::on_tick() {
  tick_.start(settings_.period);
  const Time now = clock();
  loop_.guard([this, now] { turn(now); });
  lend(now);
  if (std::abs(holding_.part(now) - rates_.part) > 1e-9) lend_rates(nullptr, now);
  tell(now);
}

void Sharing::turn(Time now) {
  if (!lock_.is_held() && now - predecessors_.looked_for > looks_for_predecessors) {
    look_for_predecessors(now);
    if (connection_ && connection_->is_ready()) bury_predecessors();
  }
  if (!connection_) {
    if (!attempts_.is_looking_up && now >= attempts_.again) connect(now);
  } else if (!connection_->is_ready()) {
    if (now - began_ > settings_.lease / settings_.redis.size())
      fail(SharingFailure::slow,
           connection_->is_connecting() ? "it does not take the connection" : "it does not answer",
           now);
  } else if (connection_->awaited() > 0) {
    if (now - began_ > answer_time()) fail(SharingFailure::slow, "it does not answer in time", now);
  } else {
    exchange(now);
  }
}

void Sharing::connect(Time now) {
  began_ = now;
  const conf::RedisServer& wanted = server();
  health_.server = wanted.text;
  const conf::Address address{
      .host = wanted.host, .port = wanted.port, .text = wanted.text, .is_unix = wanted.is_unix};
  if (!wanted.is_unix && address.is_name()) {
    attempts_.is_looking_up = true;
    return resolver_.look_up(address, [this](const Resolver::Result& result) {
      attempts_.is_looking_up = false;
      on_address(result);
    });
  }
  const auto found = proxy::net::address_of_number(address);
  if (!found) return fail(SharingFailure::unreachable, found.error(), now);
  connect_to(*found);
}

// Another one each time: some of them may not answer.
void Sharing::on_address(const Resolver::Result& result) {
  if (is_leaving_) return;
  if (!result) return fail(SharingFailure::unreachable, result.error().why, clock());
  const auto& endpoints = result->endpoints;
  connect_to(
      endpoints[attempts_.failures_in_a_row / settings_.redis.size() % endpoints.size()].address);
}

void Sharing::connect_to(const SocketAddress& address) {
  const conf::RedisServer& wanted = server();
  RedisConnection::Owner& owner = *this;
  connection_ = std::make_unique<RedisConnection>(
      loop_, owner, address,
      wanted.is_tls ? tls_->connect(wanted.host, proxy::net::TlsConnector::make_memory()) : nullptr,
      RedisConnection::Login{.user = wanted.user,
                             .password = password_,
                             .database = wanted.database,
                             .script = ledger_script});
  if (const int error = connection_->error(); error != 0)
    fail(SharingFailure::unreachable, std::generic_category().message(error), clock());
}

void Sharing::on_redis_ready() {
  if (is_leaving_) return;
  bury_predecessors();
  exchange(clock());
}

// The process before this one on this machine: while it lives (an upgrade) it has the lock. After
// it has ended nothing is begun by it, so that nothing must be kept for it but what may be in
// flight.
void Sharing::look_for_predecessors(Time now) {
  predecessors_.looked_for = now;
  auto before = lock_.take(terms_.member);
  if (!before) return;
  predecessors_.names = std::move(*before);
  for (const std::string& name : predecessors_.names)
    spdlog::info("sharing: {} has ended on this machine without a farewell: its part is given back",
                 conf::printable(name));
}

// To each engine anew: one that took over may not have heard it.
void Sharing::bury_predecessors() {
  for (const std::string& name : predecessors_.names) {
    std::vector<std::string> words = arguments("bury");
    words.push_back(name);
    connection_->run(key_, words);
    ++predecessors_.awaited;
  }
}

// Until all have been told of, who comes after this process would have to do it.
void Sharing::note_buried() {
  if (--predecessors_.awaited > 0 || predecessors_.are_buried) return;
  predecessors_.are_buried = true;
  lock_.keep({terms_.member});
}

std::vector<std::string> Sharing::arguments(const std::string& verb) const {
  const auto in_us = [](std::chrono::milliseconds time) {
    return text_of(static_cast<std::uint64_t>(std::chrono::microseconds(time).count()));
  };
  return {verb, terms_.member, text_of(settings_.members_max), in_us(settings_.lease),
          in_us(settings_.away_max)};
}

// What is promised here the gate keeps already: it has lent no more than that.
void Sharing::exchange(Time now) {
  began_ = now;
  const Workers::Use use = workers_.use();
  sharing::Report report = holding_.report(use.in_use, use.demand, now);
  lend(now);
  const Workers::RateUses rates = workers_.take_rate_uses(now);
  health_.rates.resize(std::min(rates.rates.size(), sharing::rates_max));
  rates_.notes.note_beyond(rates.rates.size() - health_.rates.size());
  for (std::size_t i = 0; i < health_.rates.size(); ++i) {
    const sharing::RateHolding::Use& told = rates.rates[i];
    SharingHealth::Rate& rate = health_.rates[i];
    if (rate.of_conf == 0 || rate.route != told.id) rate = {.route = told.id, .rate = told.rate};
    rate.of_conf = told.rate;
  }
  report.rates = rates_.holding.report(rates.rates, rates_.part, rates.clients, now);
  std::vector<std::string> words = arguments("settle");
  const bool shows = now - shown_ >= between_shows;
  if (shows) shown_ = now;
  add_words(report, shows, words);
  connection_->run(key_, words);
}

void Sharing::on_redis_answer(const RedisReply& reply) {
  const Time now = clock();
  if (is_leaving_) {
    if (connection_->awaited() == 0) {
      lock_.keep(predecessors_.are_buried ? std::vector<std::string>() : predecessors_.names);
      end();
    }
    return;
  }
  if (reply.kind == RedisReply::Kind::nothing) {  // the script was gone, and is brought again
    predecessors_.awaited -= std::min<std::size_t>(predecessors_.awaited, 1);
    began_ = now;
    return;
  }
  if (reply.kind == RedisReply::Kind::status && predecessors_.awaited > 0) return note_buried();
  const auto share = share_in(reply);
  if (!share) return fail(SharingFailure::malformed, "it answers something else", now);
  holding_.hear(*share, now);
  lend(now);
  take_shown(reply, health_);
  if (share->is_heard) lend_rates(&*share, now);
  attempts_.failures_in_a_row = 0;
  ++health_.exchanges;
  health_.took = std::chrono::duration_cast<std::chrono::microseconds>(now - began_);
  if (!share->is_heard) return note_unheard(now);
  unheard_since_ = {};
  health_.heard = now;
  health_.problem.clear();
  tell(now);
}

// Once may be one that was late.
void Sharing::note_unheard(Time now) {
  if (unheard_since_ == Time{}) unheard_since_ = now;
  if (now - unheard_since_ <= settings_.lease) return tell(now);
  unheard_since_ = {};
  fail(SharingFailure::malformed,
       "it hears no report of this gateway: its clock is not one, or it holds it for dead", now);
}

// What counts without an answer is lent two periods before the lease ends, so that there is no gap
// between the two; and ends by itself, too: who wakes after a long stop begins nothing before this
// thread has looked at the clock.
void Sharing::lend(Time now) {
  if (is_leaving_) return workers_.lend(0, Time::max(), 0);
  const bool is_open = settings_.when_away == conf::WhenAway::open;
  const std::uint32_t seats = holding_.seats(now);
  const Time lapses = holding_.lapses();
  if (now < lapses && (is_open || now + 2 * settings_.period < lapses))
    return workers_.lend(seats, lapses, is_open ? terms_.workers : 0);
  if (is_open) return workers_.lend(terms_.workers, Time::max(), terms_.workers);
  if (now >= holding_.gone()) return workers_.lend(0, Time::max(), 0);
  workers_.lend(std::min(seats, holding_.seats(std::max(now, lapses))), holding_.gone(), 0);
}

// Without an answer: its part, which the buckets go back to by themselves.
void Sharing::lend_rates(const sharing::Share* share, Time now) {
  rates_.part = holding_.part(now);
  const std::vector<sharing::RateHolding::Loan> loans =
      share == nullptr ? rates_.holding.go_by_part(rates_.part, now)
                       : rates_.holding.hear(share->rates, rates_.part, holding_.were_lost(), now);
  workers_.lend_rates(rates_.part, loans, now);
  for (std::size_t i = 0; i < std::min(health_.rates.size(), loans.size()); ++i) {
    health_.rates[i].rate = loans[i].whole;
    health_.rates[i].here = loans[i].rate;
  }
  rates_.notes.note_less(health_.rates, now);
}

// ---- What goes wrong ----------------------------------------------------------------------------

void Sharing::on_redis_failed(SharingFailure kind, const std::string& why) {
  if (is_leaving_) return end();
  fail(kind, why, clock());
}

void Sharing::fail(SharingFailure kind, const std::string& why, Time now) {
  drop_connection();
  ++health_.failures[static_cast<std::size_t>(kind)];
  const std::string_view advice = advice_for(kind);
  health_.problem =
      fmt::format("{}: {}{}{}", server().text, why, advice.empty() ? "" : "; ", advice);
  // One line for each kind of trouble, and again when it lasts; the others are counted.
  Time& complained = complained_[static_cast<std::size_t>(kind)];
  if (complained == Time{} || now - complained > between_complaints) {
    spdlog::warn("sharing: {}: {}", word_of(kind), health_.problem);
    complained = now;
  }
  attempts_.server = (attempts_.server + 1) % settings_.redis.size();
  ++attempts_.failures_in_a_row;
  const std::size_t rounds = attempts_.failures_in_a_row / settings_.redis.size();
  const auto pause = rounds == 0 ? std::chrono::milliseconds(0)
                                 : settings_.period * (1U << std::min<std::size_t>(rounds - 1, 6));
  attempts_.again = now + std::min({pause, longest_pause, settings_.lease / 4});
}

void Sharing::drop_connection() {
  predecessors_.awaited = 0;
  if (!connection_) return;
  connection_->give_up();
  loop_.retire(std::move(connection_));
}

// ---- What is told -------------------------------------------------------------------------------

void Sharing::tell(Time now) {
  const SharingHealth::State before = health_.state;
  health_.state = holding_.is_away(now)     ? SharingHealth::State::away
                  : holding_.members() <= 1 ? SharingHealth::State::alone
                                            : SharingHealth::State::ok;
  const std::uint32_t members = std::exchange(health_.members, holding_.members());
  health_.seats = holding_.seats(now);
  health_.floor = holding_.floor();
  board_.tell(health_);
  if (health_.state != before) return tell_change(before, now);
  if (members != health_.members && health_.state != SharingHealth::State::away)
    spdlog::info("sharing: {} gateways now, {} before", health_.members, members);
}

void Sharing::tell_change(SharingHealth::State before, Time now) const {
  if (health_.state != SharingHealth::State::away)
    return spdlog::info("sharing: {} by {}: {} gateways have {} workers, this one {} of them now",
                        word_of(health_.state), health_.server, health_.members, health_.workers,
                        health_.seats);
  if (before == SharingHealth::State::off) return;
  spdlog::error(
      "sharing: away: nothing heard of the ledger for {} ms: this gateway goes on with {} of {} "
      "workers (sharing.when_away = \"{}\"){}{}",
      std::chrono::duration_cast<std::chrono::milliseconds>(now - health_.heard).count(),
      health_.seats, health_.workers, conf::word_of(settings_.when_away),
      health_.problem.empty() ? "" : "; ", health_.problem);
}

// ---- The end ------------------------------------------------------------------------------------

// With something in use nothing is said: the others keep its part until that must be over.
void Sharing::leave() {
  is_leaving_ = true;
  tick_.stop();
  lend(clock());
  const bool can_say = connection_ && connection_->is_ready() && workers_.use().in_use == 0;
  if (!can_say) return end();
  end_.start(answer_time());
  connection_->run(key_, arguments("leave"));
}

}  // namespace classgate::gateway
