package org.kernelgateway.jenkins.model;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What people type into the form's multi-line fields: one entry a line. */
public final class TextLines {
    private TextLines() {}

    /** The entries of all texts, trimmed, in order, without empty ones. A text without line breaks is one entry. */
    public static List<String> split(Collection<String> texts) {
        List<String> entries = new ArrayList<>();
        if (texts != null) {
            for (String text : texts) {
                if (text != null) {
                    text.lines().map(String::strip).filter(line -> !line.isEmpty()).forEach(entries::add);
                }
            }
        }
        return entries;
    }

    /** The entries as the text of a form's field. */
    public static String join(Collection<String> entries) {
        return entries == null ? "" : String.join("\n", entries);
    }

    /** The lines of a text of parameters that count: neither empty, nor beginning with #. */
    public static List<String> parameterLines(String text) {
        List<String> lines = text == null ? new ArrayList<>() : split(List.of(text));
        lines.removeIf(line -> line.startsWith("#"));
        return lines;
    }

    /**
     * Secrets of texts NAME or NAME=id: variable to credentials id, empty for a variable that is there already.
     *
     * @throws IllegalArgumentException for what can't be the name of a variable
     */
    public static Map<String, String> secrets(Collection<String> texts) {
        Map<String, String> secrets = new LinkedHashMap<>();
        for (String text : texts) {
            int equals = text.indexOf('=');
            String name = (equals < 0 ? text : text.substring(0, equals)).strip();
            if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
                throw new IllegalArgumentException("'" + name + "' can't be the name of an environment variable.");
            }
            secrets.put(name, equals < 0 ? "" : text.substring(equals + 1).strip());
        }
        return secrets;
    }

    /**
     * Parameters of lines {@code name=value}, in order. Spaces around the name and the value do not count; a value may
     * contain further equals signs; empty lines and lines that begin with # are left out.
     *
     * @throws IllegalArgumentException for a line without a name or an equals sign, and for a name that stands twice
     */
    public static Map<String, String> parameters(String text) {
        Map<String, String> parameters = new LinkedHashMap<>();
        for (String line : parameterLines(text)) {
            int equals = line.indexOf('=');
            if (equals <= 0) {
                throw new IllegalArgumentException("'" + line + "' is no parameter; write name=value, one a line.");
            }
            String name = line.substring(0, equals).strip();
            if (parameters.put(name, line.substring(equals + 1).strip()) != null) {
                throw new IllegalArgumentException("The parameter '" + name + "' stands there twice.");
            }
        }
        return parameters;
    }
}
