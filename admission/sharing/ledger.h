#pragma once

#include <map>
#include <string>

#include "admission/sharing/report.h"

namespace classgate::sharing {

// Who holds which of the seats before one service. Leases, not lookups: each gateway reports some
// times a second and has its seats until its lease ends; nobody asks for a single request.
//
//   A share grows only by an answer, out of what is free; it shrinks only by what its gateway says
//   that it has given up. So whatever is lost, delayed or comes twice, the seats that gateways
//   believe to have are among those that they hold here.
//   Who is silent beyond its lease keeps what it held until its requests are over for certain
//   (request_timeout), and its floor for as long as it may go on without the ledger (away_max).
//   Floors are shared out like seats: their sum is never above `workers` either.
//   A ledger that knows it may have forgotten something (it is new, its server is another one, its
//   clock has jumped) grants nothing until all that it knows of have reported, or what they may
//   have begun is over.
//
// What nobody knows any more nobody can keep: a ledger that has lost everything, while all who knew
// have gone or are cut off, looks like one that is new.
//
// What is free goes by priority, inside a priority by the weight of the clients that wait, as if
// all waited before one gateway; what nobody wants is kept ready in equal parts.
//
// Rates are no seats: what is spent does not come back, and what is lost is only lost. Of each rate
// everybody has the same part as of the seats for good (its floor), gains that by itself, and gives
// what it has no use for; it is here until somebody gets it who has too little. What is nobody's
// part is gained here. So all together have no more than the rate gains, whatever is lost; and who
// is away goes on with its part. Who should have how much goes by what is wanted and by the clients
// that ask, as if all asked one gateway. Where confs differ the least rate holds for all. While one
// has too little, what a quarter of a lease gains may lie here: with less of it some is lost
// whenever gateways are late.
//
// This is what the script in the engine does, in the form in which it is tried: on virtual time.
// O(gateways). Not thread-safe.
class Ledger {
 public:
  // `server`: whose memory it is in; another one may lack the last of what was written.
  explicit Ledger(Terms terms) : terms_(terms) {}

  Share settle(const Report& report, const std::string& server, LedgerTime told);
  // A gateway says farewell, with nothing in use and nothing to come.
  void leave(const std::string& member) { members_.erase(member); }
  // Somebody knows for certain that this one's process has ended (the same machine, and a lock that
  // it held): it goes on with no floor. What it had begun is over as for anybody who is silent.
  void bury(const std::string& member);

  struct Member {
    std::uint64_t number = 0;
    std::uint32_t held = 0;
    std::uint32_t floor = 0;
    std::uint32_t in_use = 0;
    std::uint32_t workers = 0;
    Demand demand;
    std::chrono::microseconds request_timeout{};
    LedgerTime until{};        // of its lease
    bool is_confirmed = true;  // has reported since the ledger may have forgotten something
    bool is_newcomer = true;   // knew of no ledger before, and so nothing of what this one forgot
    bool is_buried = false;    // what it may still say was sent before
    std::vector<RateReport> rates;
    std::vector<Millitokens> granted;  // of these, by the last answer
  };
  const std::map<std::string, Member>& members() const { return members_; }
  bool is_recovering() const { return is_recovering_; }

 private:
  // Of a rate: tokens that nobody has.
  struct Pool {
    Millitokens tokens = 0;
    LedgerTime filled{};
  };
  bool is_live(const Member& member) const { return now_ <= member.until && !member.is_buried; }
  // Of a gateway other than the one that reports: what may be in use there, now or without a word.
  std::uint32_t kept_for(const Member& member) const;
  void turn_clock(LedgerTime told);
  void forget_the_gone();
  void recover(const Report& report, const std::string& server);
  void end_recovery();
  std::uint32_t missing() const;
  std::uint32_t workers() const;
  std::uint32_t target_of(const std::string& name, std::uint32_t workers) const;
  // What of each rate is no gateway's part, whatever any of them may think.
  std::uint32_t nobodys_part(std::uint32_t workers) const;
  void take_back_unheard(const Member& member);
  RateShare share_of(const RateReport& rate, const std::string& name, std::uint32_t nobodys);
  void forget_pools();

  Terms terms_;
  std::map<std::string, Member> members_;
  std::string server_;
  LedgerTime last_told_{};
  LedgerTime now_{};  // its own time: as told, without the jumps
  bool is_recovering_ = false;
  LedgerTime recovers_since_{};
  LedgerTime recovers_until_{};
  // What the gateways say that there was, before the ledger forgot it.
  std::uint32_t members_expected_ = 0;
  std::uint32_t floors_expected_ = 0;
  // Floors of some that it has forgotten and that have not come back; they may go on until then.
  std::uint32_t floors_missing_ = 0;
  LedgerTime missing_until_{};
  std::map<std::string, Pool> pools_;  // of rates that a live member has
};

}  // namespace classgate::sharing
