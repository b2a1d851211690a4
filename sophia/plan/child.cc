#include "sophia/plan/child.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sophia::plan {
namespace {

// The child's answer: {"value": …} or {"error": what()}.
Json Answer(const std::function<Json()>& work) {
  try {
    return {{"value", work()}};
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }
}

// Compilers log to stderr, which is for this program's own line.
void SilenceStderr() {
  const int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
}

[[noreturn]] void Serve(const std::function<Json()>& work, int out) {
  SilenceStderr();
  const std::string text = Dump(Answer(work));
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = write(out, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  // Not exit(): plugins' threads and destructors belong to the parent.
  _exit(0);
}

std::string ReadAll(int in) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t count = read(in, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(part.data(), static_cast<size_t>(count));
  }
}

}  // namespace

ChildResult RunInChild(const std::function<Json()>& work, const std::string& where) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) Fail(where, "expected a pipe, got: {}", std::strerror(errno));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) Fail(where, "expected a child process, got: {}", std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    Serve(work, ends[1]);
  }
  close(ends[1]);
  const std::string text = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    throw ChildDied(where, fmt::format("expected a compiler that ends, got signal {} ({})",
                                       WTERMSIG(status), strsignal(WTERMSIG(status))));
  }
  if (text.empty()) Fail(where, "expected an answer from the compiler's process, got none");
  const Json answer = Json::parse(text);
  if (answer.contains("error")) Fail(where, "{}", answer["error"].get<std::string>());
  return {answer["value"], usage.ru_maxrss * int64_t{1024}};
}

}  // namespace sophia::plan
