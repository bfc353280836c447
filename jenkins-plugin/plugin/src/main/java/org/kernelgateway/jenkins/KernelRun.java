package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.Util;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.kernelgateway.jenkins.model.Gate;
import org.kernelgateway.jenkins.model.Numbers;
import org.kernelgateway.jenkins.model.RunSummary;
import org.kohsuke.stapler.export.Exported;
import org.kohsuke.stapler.export.ExportedBean;

/** One kernel run of a build, as its page and the remote API show it. */
@ExportedBean(defaultVisibility = 3)
public class KernelRun {
    private final RunSummary summary;
    private final String directory;
    private final List<String> figures;

    /**
     * @param directory of the results among the build's artifacts, with slashes
     * @param figures names of pictures in the report's folder
     */
    KernelRun(RunSummary summary, String directory, List<String> figures) {
        this.summary = summary;
        this.directory = directory;
        this.figures = new ArrayList<>(figures);
    }

    @Exported
    public String getId() {
        return summary.getId();
    }

    @Exported
    public String getName() {
        return summary.getName();
    }

    @Exported
    public String getStatus() {
        return summary.getStatus();
    }

    @Exported
    public String getReason() {
        return summary.getReason();
    }

    @Exported
    public String getKernel() {
        return summary.getKernel();
    }

    @Exported
    public String getAgent() {
        return summary.getAgent();
    }

    @Exported
    public String getCommit() {
        return summary.getCommit();
    }

    @Exported
    public Double getSeconds() {
        return summary.getSeconds();
    }

    @Exported
    public Map<String, Double> getMetrics() {
        return summary.getMetrics();
    }

    @Exported
    public List<GateView> getGates() {
        return summary.getGates().stream().map(GateView::new).collect(Collectors.toList());
    }

    /** Where the results lie among the build's artifacts. */
    @Exported
    public String getDirectory() {
        return directory;
    }

    /** The report's path below the build's address. */
    @Exported
    public String getReport() {
        return artifact("report/index.html");
    }

    /** The path of one of the run's files below the build's address, encoded for a link. */
    public String artifact(String file) {
        return "artifact/"
                + Arrays.stream((directory + "/" + file).split("/"))
                        .filter(part -> !part.isEmpty() && !part.equals("."))
                        .map(Util::rawEncode)
                        .collect(Collectors.joining("/"));
    }

    public List<String> getFigures() {
        return figures;
    }

    /** The metrics that the build's page has room for, in a line. */
    public String getHeadline() {
        return summary.headline(6);
    }

    List<String> judged() {
        return summary.judged();
    }

    public String getDuration() {
        return Numbers.duration(summary.getSeconds());
    }

    public String format(@CheckForNull Double value) {
        return Numbers.shortText(value);
    }

    /** The name of Jenkins' own symbol for the status. */
    public String getSymbol() {
        switch (summary.getStatus()) {
            case "succeeded":
                return "symbol-status-blue";
            case "unstable":
                return "symbol-status-yellow";
            case "cancelled":
                return "symbol-status-aborted";
            default:
                return "symbol-status-red";
        }
    }

    /** A gate for the page and the remote API. */
    @ExportedBean(defaultVisibility = 4)
    public static final class GateView {
        private final Gate gate;

        GateView(Gate gate) {
            this.gate = gate;
        }

        @Exported
        public String getExpression() {
            return gate.getExpression();
        }

        @Exported
        public Double getValue() {
            return gate.getValue();
        }

        @Exported
        public Double getBound() {
            return gate.getBound();
        }

        @Exported
        public Boolean getPassed() {
            return gate.getPassed();
        }

        @Exported
        public String getMessage() {
            return gate.getMessage();
        }

        /** In a word. */
        public String getVerdict() {
            return gate.getPassed() == null ? "not judged" : gate.getPassed() ? "met" : "not met";
        }
    }
}
