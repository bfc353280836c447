package org.kernelgateway.jenkins.model;

import groovy.json.JsonOutput;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The file of options that {@code kernel-gateway run --options} reads: long options without their dashes.
 *
 * <p>What a user typed stands in this file alone, so that no shell and no command line holds it. Source of the names:
 * docs/command-line.md.
 */
public final class RunRequest {
    /** The name of the file that holds a snippet, beside that of options. */
    public static final String CODE_FILE = "code";

    private final Map<String, Object> options = new LinkedHashMap<>();

    /** Adds an option; null, an empty text, an empty list, zero and false stand for an option that is not given. */
    public RunRequest option(String name, Object value) {
        boolean given = value instanceof String
                ? !((String) value).isEmpty()
                : value instanceof Collection
                        ? !((Collection<?>) value).isEmpty()
                        : value instanceof Boolean
                                ? (Boolean) value
                                : value instanceof Number ? ((Number) value).doubleValue() != 0 : value != null;
        if (given) {
            options.put(name, value);
        }
        return this;
    }

    /** The gateway's address; an empty text, which does count, for a run on the agent itself. */
    public RunRequest gateway(String url) {
        options.put("gateway", url == null ? "" : url);
        return this;
    }

    /**
     * The parameters: values of a pipeline's map keep their types; texts name=value are typed by the command.
     *
     * @throws IllegalArgumentException if there are both
     */
    public RunRequest parameters(Map<String, ?> typed, List<String> texts) {
        if (typed != null && !typed.isEmpty()) {
            if (!texts.isEmpty()) {
                throw new IllegalArgumentException("Parameters are either a map or a list of texts, not both.");
            }
            options.put("params", plain(typed));
        } else if (!texts.isEmpty()) {
            options.put("params", new ArrayList<>(texts));
        }
        return this;
    }

    public Object get(String name) {
        return options.get(name);
    }

    public String toJson() {
        return JsonOutput.toJson(options);
    }

    /** Groovy's lazy strings and keys of other types become texts; everything else stays what it is. */
    private static Object plain(Object value) {
        if (value instanceof Map) {
            Map<String, Object> copy = new LinkedHashMap<>();
            ((Map<?, ?>) value).forEach((key, item) -> copy.put(String.valueOf(key), plain(item)));
            return copy;
        }
        if (value instanceof Collection) {
            List<Object> copy = new ArrayList<>();
            ((Collection<?>) value).forEach(item -> copy.add(plain(item)));
            return copy;
        }
        return value == null || value instanceof Number || value instanceof Boolean ? value : value.toString();
    }
}
