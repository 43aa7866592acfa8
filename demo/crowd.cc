#include "demo/crowd.h"

#include <sstream>

#include "demo/client_words.h"

namespace tpmspace::demo {

tl::expected<Crowd, std::string> Crowd::start(unsigned clients, const std::string& tcti, unsigned rounds,
                                              const std::string& log, Deadline deadline) {
  Crowd crowd(deadline);
  const std::string program = own_directory() + "/tpmspace-demo";
  for (unsigned i = 1; i <= clients; ++i) {
    // ESYS's own lines about a failure are not needed: we report the failure.
    auto child = Child::start(
        {{program, "client", std::to_string(i), tcti, std::to_string(rounds)}, {{"TSS2_LOG", "all+none"}}, log, true});
    if (!child) return tl::unexpected(child.error());
    crowd.clients_.push_back(std::move(*child));
    crowd.outcomes_.emplace_back();
  }
  return crowd;
}

Outcome Crowd::listen(Child& client) const {
  Outcome out;
  const auto line = client.read_line(deadline_);
  std::istringstream words(line.value_or(""));
  std::string verb, place;
  words >> verb;
  if (verb == "failed") {
    out.how = Outcome::How::kFailed;
    words >> out.failure.code >> std::ws;
    std::getline(words, out.failure.command);
  } else if (verb == "at" && words >> place) {
    if (place == kAtDone) out.how = Outcome::How::kDone;
    words >> out.signatures >> out.quotes >> out.secrets >> out.wrong;
  } else {
    out.how = Outcome::How::kVanished;
  }
  return out;
}

void Crowd::gather() {
  for (std::size_t i = 0; i < clients_.size(); ++i)
    if (outcomes_[i].how == Outcome::How::kUnderWay) outcomes_[i] = listen(clients_[i]);
}

void Crowd::let_go() {
  for (auto& client : clients_) (void)client.say(kGo);  // a client that has ended does not read the message
}

void Crowd::see_off() {
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].end_of_input();
    const bool well = clients_[i].wait(deadline_) == 0;
    if (!well && outcomes_[i].how == Outcome::How::kDone && outcomes_[i].wrong == 0)
      outcomes_[i].how = Outcome::How::kVanished;
    clients_[i].stop();
  }
}

}  // namespace tpmspace::demo
