// Java's HttpClient at work: java Client.java WHAT URL. Prints what python_client.py prints.
import java.io.*;
import java.net.URI;
import java.net.http.*;
import java.util.stream.Stream;

public class Client {
  static final String TEXT = "{\"text\": \"we bake bread and cakes for the whole town\"}";
  static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  static String quoted(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\r", "") + '"';
  }

  static void report(Integer status, String sees, String body, int events) {
    System.out.println("{\"status\": " + status + ", \"sees\": " + quoted(sees) + ", \"body\": " + quoted(body) +
                       ", \"events\": " + events + "}");
  }

  static void post(String url, HttpRequest.BodyPublisher body) throws InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/json").POST(body).build();
    try {
      HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
      report(answer.statusCode(), answer.statusCode() == 200 ? "" : "" + answer.statusCode(), answer.body(), 0);
    } catch (IOException failure) {
      report(null, failure.toString(), "", 0);
    }
  }

  static void listen(String url, int most) throws InterruptedException {
    int events = 0;
    try {
      HttpResponse<InputStream> answer =
          client.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofInputStream());
      try (BufferedReader lines = new BufferedReader(new InputStreamReader(answer.body()))) {
        String line;
        while (events != most && (line = lines.readLine()) != null)
          if (line.startsWith("data:")) ++events;
      }
      report(answer.statusCode(), "", "", events);
    } catch (IOException failure) {
      report(200, failure.toString(), "", events);
    }
  }

  public static void main(String[] words) throws Exception {
    String what = words[0], url = words[1];
    switch (what) {
      case "twice": post(url, HttpRequest.BodyPublishers.ofString(TEXT));
      case "ask": post(url, HttpRequest.BodyPublishers.ofString(TEXT)); break;
      case "upload": post(url, HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(new byte[8 << 20]))); break;
      case "stream": listen(url, 3); break;
      case "listen": listen(url, -1); break;
    }
    System.exit(0);
  }
}
