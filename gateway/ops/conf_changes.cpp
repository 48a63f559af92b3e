#include "gateway/ops/conf_changes.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <sstream>
#include <tuple>
#include <utility>

#include "conf/format.h"
#include "conf/keys.h"
#include "gateway/clients/quotas.h"
#include "gateway/clients/secret.h"
#include "gateway/milestones.h"
#include "gateway/service_manager.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t mistakes_told_max = 20;  // of one reload; of a line:
constexpr std::size_t mistake_bytes_max = 1024;
constexpr const char* no_memory = "there was not enough memory for it; it may be tried again";

std::vector<std::string> lines_of(const std::vector<conf::Mistake>& mistakes) {
  std::vector<std::string> lines;
  for (const conf::Mistake& mistake : mistakes)
    lines.push_back(fmt::format("{}: {}", mistake.place, mistake.text));
  return lines;
}

// They are kept, and asked for by whoever monitors.
void bound(std::vector<std::string>& lines) {
  const std::size_t count = lines.size();
  if (count > mistakes_told_max) {
    lines.resize(mistakes_told_max);
    lines.push_back(
        fmt::format("and {} more: classgate --check tells them", count - mistakes_told_max));
  }
  for (std::string& line : lines) {
    if (line.size() <= mistake_bytes_max) continue;
    std::size_t end = mistake_bytes_max;
    while ((static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;  // within a character
    line.resize(end);
    line += "...";
  }
}

// Why this must not be set at run time: no order could take it back; empty: it may.
std::string why_cut_off(const std::string& name, const conf::OpsSettings& now,
                        const conf::OpsSettings& wanted) {
  if (name == "ops.control" && wanted.control == "off")
    return "ops.control: \"off\" would close the socket by which this order came, and no order "
           "could take it back: write it in the conf, and reload";
  constexpr std::chrono::milliseconds least(1000);  // in which an order is done on a busy machine
  for (const auto& [key, before, after] :
       {std::tuple("ops.timeout", now.timeout, wanted.timeout),
        std::tuple("ops.reload_timeout", now.reload_timeout, wanted.reload_timeout)})
    if (name == key && after < std::min(before, least))
      return fmt::format(
          "{}: the order that takes it back might not be done within {} ms: set 1s "
          "at least, or write it in the conf, and reload",
          key, after.count());
  return {};
}

}  // namespace

std::vector<std::string> lines_of_forgotten(const ConfHistory& history) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : history.set_at_run_time)
    lines.push_back(fmt::format("{} = {}, set at run time, gave way to the conf", key, value));
  return lines;
}

ConfChanges::ConfChanges(proxy::net::Loop& loop, Owner& owner, Server& server, ErrorLog& log,
                         conf::Sources sources, conf::Loaded loaded)
    : loop_(loop),
      owner_(owner),
      server_(server),
      log_(log),
      at_start_{loaded.settings.sandbox, loaded.settings.core_dumps, loaded.settings.clients.secret,
                loaded.settings.forecast.file},
      sources_(std::move(sources)),
      loaded_(std::move(loaded)),
      timer_(loop, [this] { on_timeout(); }),
      errand_(loop, [this](Outcome&& outcome) { on_prepared(std::move(outcome)); }),
      record_(loop) {}

void ConfChanges::note_start(std::string_view what) {
  loop_.guard([&] { record_.note(loaded_, sources_, what, {}, std::nullopt); });
}

// Nothing, when the conf may be changed now.
std::optional<std::string> ConfChanges::why_none() const {
  if (auto why = owner_.why_no_change()) return why;
  if (is_under_way())
    return "a change of the conf is under way: ask again when it is done (ops.reload_timeout)";
  return std::nullopt;
}

// One that is asked for while another is under way follows it.
void ConfChanges::reload_by_signal(const std::string& by) {
  if (!is_under_way()) {
    if (const auto why = why_none())
      return log_milestone(spdlog::level::err, "HUP: reload refused: {}", *why);
    return reload([](const Change&) {}, {.by = by});  // the log tells
  }
  reloads_again_ = by;
  log_milestone(spdlog::level::info, "HUP: a change of the conf is under way; a reload follows it");
}

void ConfChanges::reload(TellChange tell, Origin origin) {
  if (const auto why = why_none()) return tell({false, {*why}});
  conf::Sources sources = sources_;
  sources.run_time.clear();
  Lines forgotten = lines_of_forgotten(server_.policy().history);
  std::function<Change(Outcome&&)> then = [this,
                                           forgotten = std::move(forgotten)](Outcome&& outcome) {
    ConfHistory history = server_.policy().history;
    history.set_at_run_time.clear();
    return reloaded(std::move(outcome), std::move(history), forgotten);
  };
  TellChange tell_ready = [this, tell = std::move(tell)](const Change& change) {
    loop_.guard([this] { notify_ready(owner_.status_line()); }, [] { notify_ready({}); });
    tell(change);
  };
  origin_ = std::move(origin);
  notify_reloading();
  prepare(std::move(sources), std::move(then), std::move(tell_ready));
}

ConfChanges::Change ConfChanges::reloaded(Outcome&& outcome, ConfHistory history, Lines forgotten) {
  if (!outcome) return refuse(std::move(outcome.error()));
  conf::Loaded loaded = outcome->loaded;
  ++history.reloads;
  history.last_failed = false;
  history.last_error.clear();
  history.read_at = std::chrono::system_clock::now();
  Change change = apply(std::move(*outcome), std::move(history));
  if (!change.ok) return refuse(std::move(change.lines));
  sources_.run_time.clear();
  loop_.guard([&] {
    std::ranges::move(forgotten, std::back_inserter(change.lines));
    log_milestone(spdlog::level::info, "reloaded: {}{}{}", server_.description(),
                  origin_.by.empty() ? "" : "; asked for by ", origin_.by);
    for (const std::string& line : change.lines)
      log_milestone(spdlog::level::warn, "reload: {}", line);
  });
  note_differences(std::move(loaded), change);
  return change;
}

// What a conf that was emptied or cut off no longer says. (A file may be read while it is written.)
ConfChanges::Lines ConfChanges::lost_by(const conf::Loaded& loaded, const Before& before) {
  const auto is_blank = [](const std::string& text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos;
  };
  for (const auto& [path, text] : *loaded.texts)
    for (const auto& [known, former] : *before.loaded.texts)
      if (known == path && is_blank(text) && !is_blank(former))
        return {
            fmt::format("{} is empty, and was not: is it being written? To mean it, leave a "
                        "comment in it",
                        path)};
  if (before.sources.run_time.empty()) return conf::lost_between(before.loaded, loaded);
  conf::Sources sources = before.sources;  // without what was set at run time, which ends anyway
  sources.run_time.clear();
  sources.texts = before.loaded.texts;
  const auto former = conf::load(sources);
  return former ? conf::lost_between(*former, loaded) : Lines();
}

// Says what is different now.
void ConfChanges::note_differences(conf::Loaded loaded, Change& change) {
  Lines changes;
  loop_.guard([&] { changes = conf::changes_between(loaded_, loaded); });
  loaded_ = std::move(loaded);
  loop_.guard([&] { record_.note(loaded_, sources_, origin_.what, origin_.by, changes); });
  loop_.guard([&] { tell_differences(std::move(changes), change); });
}

void ConfChanges::tell_differences(Lines changes, Change& change) {
  for (std::size_t i = 0; i < changes.size() && i < mistakes_told_max; ++i)
    log_milestone(spdlog::level::info, "changed: {}", changes[i]);
  if (changes.size() > mistakes_told_max)
    log_milestone(spdlog::level::info, "changed: {} more", changes.size() - mistakes_told_max);
  if (changes.empty() && change.lines.empty()) changes.push_back("the conf says nothing else");
  std::ranges::move(changes, std::back_inserter(change.lines));
}

void ConfChanges::set(const std::string& name, const std::string& value, TellChange tell,
                      std::string by) {
  if (const auto why = why_none()) return tell({false, {*why}});
  const conf::Key* key = conf::find_key(name);
  if (key != nullptr && key->needs_restart)
    return tell({false, {fmt::format("{} needs a restart: change it in the conf", name)}});
  const std::string shown = conf::shown_value(name, value);
  origin_ = {fmt::format("set {} = {}", name, shown), std::move(by)};
  conf::Sources sources = sources_;
  std::erase_if(sources.run_time, [&](const conf::Override& set) { return set.key == name; });
  sources.run_time.push_back({name, value, {}});
  sources.texts = loaded_.texts;  // what is in force, whatever the files say by now
  const auto now_set = sources.run_time;
  const auto then = [this, name, value, shown, now_set](Outcome&& outcome) -> Change {
    if (!outcome && outcome.error().empty()) return {false, {no_memory}};
    if (!outcome) return {false, std::move(outcome.error())};
    if (std::string why = why_cut_off(name, server_.settings().ops, outcome->loaded.settings.ops);
        !why.empty())
      return {false, {std::move(why)}};
    // Of reloads it says nothing: what is on the disk has not been read.
    ConfHistory history = server_.policy().history;
    history.set_at_run_time.clear();
    for (const conf::Override& set : now_set)
      history.set_at_run_time.emplace_back(set.key, conf::shown_value(set.key, set.value));
    const auto before = server_.settings();
    conf::Loaded loaded = outcome->loaded;
    auto run_time = now_set;
    Change change = apply(std::move(*outcome), std::move(history));
    if (!change.ok) return change;
    sources_.run_time = std::move(run_time);
    loaded_ = std::move(loaded);
    loop_.guard([&] {
      change.lines.insert(change.lines.begin(),
                          fmt::format("{} = {} until the next reload", name, shown));
      // Commands look where the conf says.
      if (name == "ops.control" && value != before.ops.control)
        change.lines.push_back(fmt::format("from now on: classgate --socket {}", value));
      log_milestone(spdlog::level::info, "set at run time: {} = {} (it was {})", name, shown,
                    conf::value_in(before, name));
    });
    return change;
  };
  prepare(std::move(sources), then, std::move(tell));
}

// Whatever fails from here on, whoever asked hears of it.
void ConfChanges::prepare(conf::Sources sources, std::function<Change(Outcome&&)> then,
                          TellChange tell) {
  then_ = std::move(then);
  tell_ = std::move(tell);
  bool has_begun = false;
  loop_.guard([&] {
    has_begun = errand_.begin([sources = std::move(sources), before = Before{sources_, loaded_},
                               server = server_.in_force(),
                               operators = owner_.operator_sockets()]() -> Outcome {
      try {
        return prepare_now(sources, before, server, operators);
      } catch (const std::bad_alloc&) {
        return std::unexpected(Lines());  // for which no memory is needed
      } catch (const std::exception& failure) {
        return std::unexpected(Lines{failure.what()});
      }
    });
  });
  if (has_begun) return timer_.start(server_.settings().ops.reload_timeout);
  on_prepared(std::unexpected(
      Lines{"those before still hang, reading files or looking names up, or there is no thread to "
            "be had"}));
}

// On a thread of its own: may wait for files and names.
ConfChanges::Outcome ConfChanges::prepare_now(const conf::Sources& sources, const Before& before,
                                              const Server::InForce& server,
                                              const OperatorServer::Sockets& operators) {
  auto loaded = conf::load(sources);
  if (!loaded) return std::unexpected(lines_of(loaded.error()));
  const bool reads_files = sources.texts == nullptr;  // a reload does
  if (Lines lost = reads_files ? lost_by(*loaded, before) : Lines(); !lost.empty())
    return std::unexpected(std::move(lost));
  const conf::Settings& settings = loaded->settings;
  const auto placed = [&loaded](const std::string& line) {
    return conf::with_place(*loaded, line);
  };
  // Only the next start takes it, and would fail.
  auto secret = reads_files ? check_secret(settings.clients, &server.hash_key) : std::string();
  if (!secret) return std::unexpected(Lines{placed(secret.error())});
  auto tokens = read_operator_tokens(settings.ops.token_file);
  if (!tokens) return std::unexpected(Lines{placed(tokens.error())});
  std::vector<proxy::net::ListeningSocket> none_inherited;
  auto sockets = open_operator_sockets(settings.ops, operators, none_inherited);
  if (!sockets) return std::unexpected(Lines{placed(sockets.error() + " (ops.listen)")});
  auto prepared = Server::prepare(
      settings, server, reads_files ? Server::Files::read_again : Server::Files::as_they_were);
  if (!prepared) {
    Lines lines;
    std::istringstream errors(prepared.error());
    for (std::string line; std::getline(errors, line);) lines.push_back(placed(line));
    return std::unexpected(std::move(lines));
  }
  auto log = ErrorLog::open_target(settings.log);
  if (!log) return std::unexpected(Lines{placed(log.error())});
  if (!secret->empty()) *secret = placed(*secret);
  Prepared all{std::move(*loaded), std::move(*prepared), std::move(*sockets),
               std::move(*log),    FreshPath(),          {},
               std::move(*tokens)};
  // Last: while the rest hangs, no path is taken that a later change may want.
  const std::string& path = all.server.settings.ops.control;
  if (auto opened = open_control(path, operators, all); !opened) {
    if (path != before.loaded.settings.ops.control)
      return std::unexpected(Lines{std::move(opened.error())});
    // As at the start: going without is told, and no reason to refuse the rest.
    all.warnings.push_back(opened.error() +
                           "; `classgate status` and the like cannot reach this process");
  }
  if (!secret->empty()) all.warnings.push_back(std::move(*secret));
  if (std::string lack = lack_of_descriptors(all.server.settings);
      !lack.empty() && lack != lack_of_descriptors(before.loaded.settings))
    all.warnings.push_back(std::move(lack));
  for (const conf::Mistake& warning : all.loaded.warnings)
    if (std::ranges::find(before.loaded.warnings, warning) == before.loaded.warnings.end())
      all.warnings.push_back(fmt::format("{}: {}", warning.place, warning.text));
  if (reads_files && !sources.conf_path.empty())
    if (const std::string why = ConfRecord::why_not(all.server.settings); !why.empty())
      all.warnings.push_back(
          fmt::format("this conf is not kept: {}; `classgate conf history` will not tell of it, "
                      "and no rollback will find it",
                      why));
  // What is open stays so, and where nothing was it has been opened by now.
  const conf::Settings& taken = all.server.settings;
  const bool has_quotas = reads_files && Quotas::are_wanted_by(taken);
  if (const auto why = has_quotas ? QuotaStore::why_not(taken.clients.quota_file) : "";
      !why.empty())
    all.warnings.push_back(conf::with_place(all.loaded, why) +
                           "; until then what is counted may be in memory only, and the next "
                           "start would fail");
  return all;
}

// The control socket, added to the others: the one that is open, if its path still leads there.
std::expected<void, std::string> ConfChanges::open_control(const std::string& path,
                                                           const OperatorServer::Sockets& open,
                                                           Prepared& prepared) {
  if (path == "off") return {};
  const auto known = std::ranges::find_if(open, [&](const auto& socket) {
    return socket->local.storage.ss_family == AF_UNIX && socket->local.text() == path;
  });
  if (known != open.end() && ::access(path.c_str(), F_OK) == 0) {
    prepared.operators.push_back(*known);
    return {};
  }
  auto socket = proxy::net::listen_on_path(path);
  if (!socket) return std::unexpected(socket.error());
  prepared.control = FreshPath(path);
  prepared.operators.push_back(
      std::make_shared<const proxy::net::ListeningSocket>(std::move(*socket)));
  return {};
}

ConfChanges::FreshPath::~FreshPath() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

// What throws (memory has run out) is told to the log by the loop's guard, and to whoever asked.
void ConfChanges::on_prepared(Outcome&& outcome) {
  timer_.stop();
  const auto then = std::exchange(then_, nullptr);
  Change change;
  const auto carry_out = [&](Outcome&& what) { change = then(std::move(what)); };
  loop_.guard([&] { carry_out(std::move(outcome)); }, [&] { carry_out(std::unexpected(Lines())); });
  conclude(change);
}

void ConfChanges::conclude(const Change& change) {
  const auto tell = std::exchange(tell_, nullptr);
  loop_.guard([&] {
    past_.push_back({std::chrono::system_clock::now(), std::exchange(origin_, {}), change});
    if (past_.size() > past_max) past_.pop_front();
  });
  loop_.guard([&] { tell(change); }, [&] { tell({change.ok, {}}); });
  if (const auto by = std::exchange(reloads_again_, std::nullopt); by && !owner_.why_no_change())
    reload([](const Change&) {}, {.by = *by});
}

void ConfChanges::on_timeout() {
  errand_.give_up();
  Lines why;
  loop_.guard([&] {
    why.push_back(
        fmt::format("not all was read, looked up and opened within ops.reload_timeout, {} ms",
                    server_.settings().ops.reload_timeout.count()));
  });
  on_prepared(std::unexpected(std::move(why)));
}

void ConfChanges::give_up(const std::string& why) {
  if (!errand_.is_under_way()) return;
  errand_.give_up();
  timer_.stop();
  then_ = nullptr;
  reloads_again_.reset();
  log_milestone(spdlog::level::warn, "the change of the conf that was under way is given up: {}",
                why);
  Change change;
  loop_.guard([&] { change.lines.push_back(fmt::format("given up: {}", why)); });
  conclude(change);
}

// All of it or nothing: what can fail has been tried.
ConfChanges::Change ConfChanges::apply(Prepared&& prepared, ConfHistory history) {
  const conf::Settings settings = prepared.server.settings;
  Change change{.ok = true, .lines = std::move(prepared.warnings)};
  if (settings.threads != server_.settings().threads)
    change.lines.push_back(fmt::format("threads = {} needs a restart; {} stay", settings.threads,
                                       server_.settings().threads));
  for (const auto& [key, differs] :
       {std::pair("sandbox", settings.sandbox != at_start_.sandbox),
        std::pair("core_dumps", settings.core_dumps != at_start_.core_dumps),
        std::pair("clients.secret", settings.clients.secret != at_start_.secret),
        std::pair("forecast.file", settings.forecast.file != at_start_.demand_file),
        std::pair("clients.quota_file",
                  server_.policy().quotas &&
                      server_.policy().quotas->path() != settings.clients.quota_file)})
    if (differs)
      change.lines.push_back(
          fmt::format("{} needs a restart; it stays as it was at the start", key));
  if (server_.sockets_are_given() && settings.listen != server_.settings().listen)
    change.lines.push_back("listen: the service manager's socket unit says where to listen");
  if (const auto result = owner_.put_in_force(std::move(prepared.server), std::move(history));
      !result)
    return {false, {result.error()}};
  loop_.guard([&] { log_.reconfigure(settings.log, std::move(prepared.log)); });
  prepared.control.keep();
  owner_.on_conf_changed(std::move(prepared.operators), std::move(prepared.tokens));
  return change;
}

ConfChanges::Change ConfChanges::refuse(Lines lines) {
  if (lines.empty()) lines.push_back(no_memory);
  const std::size_t count = lines.size();
  bound(lines);
  ConfHistory history = server_.policy().history;
  ++history.failed_reloads;
  history.last_failed = true;
  history.last_error.clear();
  for (const std::string& line : lines) history.last_error += line + "\n";
  for (const std::string& line : lines) log_milestone(spdlog::level::err, "{}", line);
  log_milestone(spdlog::level::err,
                "reload refused, {} mistake{}: the settings from before stay in force", count,
                count == 1 ? "" : "s");
  server_.note(std::move(history));
  return {false, std::move(lines)};
}

}  // namespace classgate::gateway
