package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import groovy.json.JsonException;
import groovy.json.JsonSlurper;
import hudson.ProxyConfiguration;
import hudson.Util;
import hudson.util.FormValidation;
import hudson.util.Secret;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Asks a gateway what forms show. It never waits for long, for a person looks at the page meanwhile. */
final class GatewayClient {
    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(2);
    private static final Duration ANSWER_TIMEOUT = Duration.ofSeconds(4);
    private static final int ANSWER_LIMIT = 1 << 20;

    private final String url;
    private final Secret token;

    GatewayClient(String url, @CheckForNull Secret token) {
        this.url = normalise(url);
        this.token = token;
    }

    /** An address without spaces around it and without slashes at its end. */
    static String normalise(@CheckForNull String url) {
        return Util.fixNull(url).trim().replaceAll("/+$", "");
    }

    static boolean isUrl(String text) {
        String lower = text.toLowerCase(Locale.ROOT);
        return lower.startsWith("http://") || lower.startsWith("https://");
    }

    /** What is wrong with an address, for a form. */
    static FormValidation checkUrl(@CheckForNull String value) {
        String text = normalise(value);
        if (text.isEmpty()) {
            return FormValidation.error("Enter the gateway's address, e.g. https://gateway.example:8888.");
        }
        if (!isUrl(text)) {
            return FormValidation.error("The address must begin with http:// or https://.");
        }
        try {
            URI uri = new URI(text);
            if (uri.getHost() == null) {
                return FormValidation.error("There is no host in this address.");
            }
            if (uri.getUserInfo() != null || uri.getQuery() != null || uri.getFragment() != null) {
                return FormValidation.error(
                        "The address must have no user, query or fragment; a token belongs into a credential.");
            }
        } catch (URISyntaxException notAUrl) {
            return FormValidation.error("This is no address: " + notAUrl.getReason() + ".");
        }
        return FormValidation.ok();
    }

    /**
     * The names of the kernels that the gateway offers.
     *
     * @throws IOException with a sentence for the form: not reachable, refused, or no gateway
     */
    List<String> kernels() throws IOException {
        List<String> names = new ArrayList<>();
        for (Map<?, ?> spec : rows(get("/api/v1/kernelspecs"), "kernelspecs")) {
            names.add(String.valueOf(spec.get("name")));
        }
        return names;
    }

    /** Version, kernels and free slots in one sentence. Raises as {@link #kernels()}. */
    String describe() throws IOException {
        Object version = get("/readyz").get("version");
        int kernels = kernels().size();
        int slots = 0;
        int busy = 0;
        for (Map<?, ?> agent : rows(get("/api/v1/agents"), "agents")) {
            if (Boolean.TRUE.equals(agent.get("alive"))) {
                slots += integer(agent.get("slots"));
                busy += integer(agent.get("busy"));
            }
        }
        return String.format(
                Locale.ROOT,
                "Connected to kernel gateway %s: %d kernels, %d of %d slots free.",
                version,
                kernels,
                Math.max(0, slots - busy),
                slots);
    }

    private Map<?, ?> get(String path) throws IOException {
        HttpRequest.Builder request;
        try {
            request = HttpRequest.newBuilder(URI.create(url + path)).timeout(ANSWER_TIMEOUT);
        } catch (IllegalArgumentException notAUrl) {
            throw new IOException(url + " is no address of a gateway.", notAUrl);
        }
        request.header("Accept", "application/json");
        if (token != null) {
            request.header("Authorization", "Bearer " + token.getPlainText());
        }
        HttpClient client =
                ProxyConfiguration.newHttpClientBuilder().connectTimeout(CONNECT_TIMEOUT).build();
        try {
            HttpResponse<InputStream> answer =
                    client.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
            try (InputStream body = answer.body()) {
                return read(answer.statusCode(), new String(body.readNBytes(ANSWER_LIMIT), StandardCharsets.UTF_8));
            }
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
            throw new IOException("The request was interrupted.", stopped);
        } catch (Unusable problem) {
            throw problem;
        } catch (IllegalArgumentException badHeader) {
            throw new Unusable("The token contains characters that a header can't hold; is it the gateway's token?");
        } catch (IOException problem) {
            String why = problem instanceof HttpTimeoutException
                    ? "it does not answer in time"
                    : problem instanceof ConnectException ? "nothing listens there" : problem.getMessage();
            throw new IOException("The gateway at " + url + " can't be reached: " + why + ".", problem);
        }
    }

    private Map<?, ?> read(int status, String body) throws Unusable {
        Object answer;
        try {
            answer = new JsonSlurper().parseText(body);
        } catch (JsonException | IllegalArgumentException notJson) {
            answer = null;
        }
        Map<?, ?> fields = answer instanceof Map ? (Map<?, ?>) answer : Map.of();
        if (status == 200 && !fields.isEmpty()) {
            return fields;
        }
        if (fields.get("detail") instanceof String) {
            throw new Unusable("The gateway answered " + status + ": " + fields.get("detail"));
        }
        throw new Unusable("What answers at " + url + " is no kernel gateway (status " + status + ").");
    }

    private static List<Map<?, ?>> rows(Map<?, ?> answer, String field) {
        List<Map<?, ?>> rows = new ArrayList<>();
        if (answer.get(field) instanceof List) {
            for (Object row : (List<?>) answer.get(field)) {
                if (row instanceof Map) {
                    rows.add((Map<?, ?>) row);
                }
            }
        }
        return rows;
    }

    private static int integer(Object value) {
        return value instanceof Number ? ((Number) value).intValue() : 0;
    }

    /** An answer that came, and says no. */
    private static final class Unusable extends IOException {
        private static final long serialVersionUID = 1L;

        Unusable(String message) {
            super(message);
        }
    }
}
