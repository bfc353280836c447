package org.kernelgateway.jenkins.model;

import groovy.json.JsonException;
import groovy.json.JsonSlurper;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * What a build keeps of a run: the part of run.json that its page, the trend and the remote API show.
 *
 * <p>Serializable for the agent's channel; its fields are stored in build.xml. Source: docs/results.md, run.json.
 */
public class RunSummary implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String id;
    private final String name;
    private final String status;
    private final String reason;
    private final Double seconds;
    private final String kernel;
    private final String agent;
    private final String commit;
    private final String buildTag;
    private final Map<String, Double> metrics;
    private final List<Gate> gates;

    private RunSummary(Map<?, ?> run) {
        id = text(run.get("id"));
        name = text(run.get("name"));
        status = text(run.get("status"));
        reason = text(run.get("reason"));
        seconds = number(run.get("seconds"));
        kernel = text(run.get("kernel"));
        agent = text(run.get("agent"));
        commit = textIn(run.get("git"), "commit");
        buildTag = textIn(run.get("build"), "tag");
        metrics = lastValues(run.get("metrics"));
        gates = new ArrayList<>();
        if (run.get("gates") instanceof List) {
            for (Object row : (List<?>) run.get("gates")) {
                if (row instanceof Map) {
                    gates.add(Gate.of((Map<?, ?>) row));
                }
            }
        }
    }

    /**
     * Reads a run.json.
     *
     * @throws IllegalArgumentException if the text is none: not JSON, or without a status
     */
    public static RunSummary parse(String json) {
        Object run;
        try {
            run = new JsonSlurper().parseText(json);
        } catch (JsonException | IllegalArgumentException problem) {
            throw new IllegalArgumentException("run.json is not readable: " + problem.getMessage(), problem);
        }
        if (!(run instanceof Map) || text(((Map<?, ?>) run).get("status")).isEmpty()) {
            throw new IllegalArgumentException("run.json is not the record of a run: it has no status.");
        }
        return new RunSummary((Map<?, ?>) run);
    }

    public String getId() {
        return id;
    }

    public String getName() {
        return name;
    }

    /** One of succeeded, unstable, failed, timed_out, kernel_died, cancelled, lost. */
    public String getStatus() {
        return status;
    }

    public String getReason() {
        return reason;
    }

    public Double getSeconds() {
        return seconds;
    }

    public String getKernel() {
        return kernel;
    }

    public String getAgent() {
        return agent;
    }

    /** The git commit that was run; empty if there was none. */
    public String getCommit() {
        return commit;
    }

    /** Jenkins' BUILD_TAG of the build that ran it; empty outside of one. */
    public String getBuildTag() {
        return buildTag;
    }

    /** The last value of each metric, by name in alphabetical order. */
    public Map<String, Double> getMetrics() {
        return Collections.unmodifiableMap(metrics);
    }

    public List<Gate> getGates() {
        return Collections.unmodifiableList(gates);
    }

    /** Metrics that gates are about, in the order of the gates. */
    public List<String> judged() {
        Set<String> names = new LinkedHashSet<>();
        for (Gate gate : gates) {
            names.addAll(Arrays.asList(gate.getExpression().split("[^\\w./-]+")));
        }
        names.retainAll(metrics.keySet());
        return new ArrayList<>(names);
    }

    /** Metrics in a line, those that gates are about first: "accuracy 0.9622, loss 0.1973". */
    public String headline(int most) {
        Set<String> names = new LinkedHashSet<>(judged());
        names.addAll(metrics.keySet());
        return names.stream()
                .limit(most)
                .map(name -> name + " " + Numbers.shortText(metrics.get(name)))
                .collect(Collectors.joining(", "));
    }

    private static Map<String, Double> lastValues(Object metrics) {
        Map<String, Double> values = new TreeMap<>();
        if (metrics instanceof Map) {
            for (Map.Entry<?, ?> metric : ((Map<?, ?>) metrics).entrySet()) {
                Object value = metric.getValue();
                Double last = number(value instanceof Map ? ((Map<?, ?>) value).get("last") : value);
                if (last != null) {
                    values.put(String.valueOf(metric.getKey()), last);
                }
            }
        }
        return values;
    }

    private static String textIn(Object fields, String name) {
        return fields instanceof Map ? text(((Map<?, ?>) fields).get(name)) : "";
    }

    static String text(Object value) {
        return value == null ? "" : value.toString();
    }

    /** Finite numbers only: a page can't draw the others, and the remote API's JSON can't hold them. */
    static Double number(Object value) {
        if (!(value instanceof Number)) {
            return null;
        }
        double number = ((Number) value).doubleValue();
        return Double.isFinite(number) ? number : null;
    }
}
