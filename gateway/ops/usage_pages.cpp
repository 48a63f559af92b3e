#include "gateway/ops/usage_pages.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/clients/pseudonym.h"
#include "gateway/json_text.h"
#include "gateway/ops/usage_json.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::seconds between_looks{1};

OperatorServer::Reply usage_refusal(int status, const std::string& why) {
  return {.status = status,
          .content_type = json_type,
          .body = json_text(nlohmann::ordered_json{{"error", why}})};
}

}  // namespace

UsagePages::UsagePages(proxy::net::Loop& loop, const Server& server, OnForget on_forget)
    : server_(server),
      on_forget_(std::move(on_forget)),
      mailbox_(loop, [this](Answer& answer) { read(answer); }),
      late_(loop, [this] { give_up_late(); }),
      link_(std::make_shared<Link>()) {
  link_->pages = this;
}

UsagePages::~UsagePages() {
  const std::lock_guard lock(link_->mutex);
  link_->pages = nullptr;
}

void UsagePages::take_their_places(Desk& desk) {
  using enum Desk::Who;
  desk.add_page(
      "/api/v1/usage", reader, [this](const Desk::Request& request, const Desk::Responder& answer) {
        const auto asked = UsageAsked::read(Query::read(request.query));
        if (!asked) return answer(usage_refusal(400, asked.error()));
        tell(answer, [asked = *asked, rules = server_.policy().rules](UsageHistory::Books& books) {
          return usage_reply(asked, books, *rules);
        });
      });
  desk.add_page("/api/v1/series", reader,
                [this](const Desk::Request& request, const Desk::Responder& answer) {
                  const auto asked = SeriesAsked::read(Query::read(request.query));
                  if (!asked) return answer(usage_refusal(400, asked.error()));
                  tell(answer, [asked = *asked](UsageHistory::Books& books) {
                    return series_reply(asked, books);
                  });
                });
  // The body: the client's id, or its name.
  desk.add_order("/forget", [this](const Desk::Request& request, const Desk::Responder& answer) {
    const std::string id = id_for(request.body);
    on_forget_(id);
    tell(answer, [client = id](UsageHistory::Books& books) { return forget_reply(client, books); });
  });
  desk.add_page("/api/v1/sessions", reader,
                [this](const Desk::Request&, const Desk::Responder& answer) {
                  tell(answer, [rules = server_.policy().rules](UsageHistory::Books& books) {
                    return sessions_reply(books, *rules);
                  });
                });
}

// As it is printed.
std::string UsagePages::id_for(std::string_view client) const {
  const ClientIdentities& clients = server_.policy().rules->clients;
  const std::uint64_t named = clients.id_of_name(client);
  return clients.name_of(named).empty() ? std::string(client) : pseudonym_of(named);
}

void UsagePages::tell(const Desk::Responder& answer, Make make) {
  UsageHistory* const history = server_.usage();
  if (history == nullptr) return answer(usage_refusal(404, "no history is kept (history.keep)"));
  const std::uint64_t number = ++last_number_;
  const bool is_asked =
      history->ask([link = link_, number, make = std::move(make)](UsageHistory::Books& books) {
        Answer made{number, {}};
        try {
          made.reply = make(books);
        } catch (const std::exception& failure) {
          made.reply = usage_refusal(503, failure.what());
        }
        const std::lock_guard lock(link->mutex);
        if (link->pages != nullptr) link->pages->mailbox_.send(std::move(made));
      });
  if (!is_asked) return answer(usage_refusal(503, "too many questions wait for the history"));
  if (asked_.empty()) late_.start(between_looks);
  asked_[number] = {answer, std::chrono::steady_clock::now() + answer_time};
}

void UsagePages::read(Answer& answer) {
  const auto found = asked_.find(answer.number);
  if (found == asked_.end()) return;  // too late
  const Desk::Responder to = std::move(found->second.answer);
  asked_.erase(found);
  if (asked_.empty()) late_.stop();
  to(answer.reply);
}

void UsagePages::give_up_late() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<Desk::Responder> late;
  for (const auto& [number, asked] : asked_)
    if (asked.until <= now) late.push_back(asked.answer);
  std::erase_if(asked_, [now](const auto& asked) { return asked.second.until <= now; });
  if (!asked_.empty()) late_.start(between_looks);
  for (const Desk::Responder& answer : late)
    answer(usage_refusal(503, "the history does not answer: it waits for its disk"));
}

}  // namespace classgate::gateway
