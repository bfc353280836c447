package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.Extension;
import hudson.Util;
import hudson.model.AbstractProject;
import hudson.model.Item;
import hudson.tasks.BuildStepDescriptor;
import hudson.tasks.Builder;
import hudson.util.ComboBoxModel;
import hudson.util.FormValidation;
import hudson.util.ListBoxModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import net.sf.json.JSONObject;
import org.jenkinsci.Symbol;
import org.jenkinsci.plugins.structs.describable.CustomDescribableModel;
import org.jenkinsci.plugins.structs.describable.DescribableModel;
import org.jenkinsci.plugins.structs.describable.DescribableParameter;
import org.kernelgateway.jenkins.model.Paths;
import org.kernelgateway.jenkins.model.TextLines;
import org.kohsuke.stapler.AncestorInPath;
import org.kohsuke.stapler.QueryParameter;
import org.kohsuke.stapler.StaplerRequest;
import org.kohsuke.stapler.verb.POST;

/** The form of "Run on a kernel", and the step's name and arguments in a pipeline. */
@Extension
@Symbol("kernelRun")
public class KernelRunStepDescriptor extends BuildStepDescriptor<Builder>
        implements CustomDescribableModel, GatewayForm {
    private static final List<String> LISTS = List.of("params", "require", "artifacts", "inputs", "secrets");

    public KernelRunStepDescriptor() {
        super(KernelRunStep.class);
    }

    @NonNull
    @Override
    public String getDisplayName() {
        return "Run on a kernel";
    }

    @Override
    public boolean isApplicable(Class<? extends AbstractProject> job) {
        return true;
    }

    /** The form's lines become lists here rather than in json-lib, which reads a text such as "[1]" as an array. */
    @Override
    public KernelRunStep newInstance(StaplerRequest request, @NonNull JSONObject form) throws FormException {
        JSONObject source = form.optJSONObject("source");
        form.remove("source");
        Map<String, List<String>> lists = new TreeMap<>();
        for (String field : LISTS) {
            String text = form.optString(field);
            lists.put(field, field.equals("params") ? TextLines.parameterLines(text) : TextLines.split(List.of(text)));
            form.remove(field);
        }
        KernelRunStep step = (KernelRunStep) super.newInstance(request, form);
        step.setParams(lists.get("params"));
        step.setRequire(lists.get("require"));
        step.setArtifacts(lists.get("artifacts"));
        step.setInputs(lists.get("inputs"));
        step.setSecrets(lists.get("secrets"));
        if (source != null && source.optString("value").equals("code")) {
            step.setCode(source.optString("code"));
        } else if (source != null) {
            String path = source.optString("notebook");
            if (path.endsWith(".ipynb")) {
                step.setNotebook(path);
            } else {
                step.setFile(path);
            }
        }
        return step;
    }

    /**
     * What a pipeline writes: maps of parameters and secrets, and one text where a list may stand.
     *
     * @throws IllegalArgumentException for an argument that there is not, which Jenkins itself would only warn of
     */
    @NonNull
    @Override
    public Map<String, Object> customInstantiate(@NonNull Map<String, Object> arguments) {
        Map<String, Object> normal = new TreeMap<>(arguments);
        checkNames(normal.keySet());
        if ("".equals(String.valueOf(normal.get("gateway")))) {
            normal.put("gateway", GatewayTarget.AGENT);
        }
        if (normal.get("params") instanceof Map) {
            normal.put("typedParams", normal.remove("params"));
        }
        if (normal.get("secrets") instanceof Map) {
            List<String> secrets = new ArrayList<>();
            ((Map<?, ?>) normal.get("secrets")).forEach((name, id) -> secrets.add(name + "=" + id));
            normal.put("secrets", secrets);
        }
        for (String field : LISTS) {
            if (normal.get(field) instanceof CharSequence) {
                normal.put(field, List.of(normal.get(field).toString()));
            }
        }
        return normal;
    }

    private static void checkNames(Collection<String> given) {
        Collection<String> known = new TreeSet<>();
        for (DescribableParameter parameter : DescribableModel.of(KernelRunStep.class).getParameters()) {
            known.add(parameter.getName());
        }
        for (String name : given) {
            if (!known.contains(name)) {
                throw new IllegalArgumentException("kernelRun: there is no argument '" + name + "'. There are: "
                        + String.join(", ", known) + ".");
            }
        }
    }

    /** A text field's content. */
    public String lines(List<String> entries) {
        return TextLines.join(entries);
    }

    public ListBoxModel doFillOnGateItems() {
        return new ListBoxModel(
                new ListBoxModel.Option("makes the build unstable", KernelRunStep.UNSTABLE),
                new ListBoxModel.Option("fails the build", KernelRunStep.FAILURE));
    }

    /** The kernels of the gateway, asked for now; none if it does not answer, and {@link #doCheckKernel} says why. */
    @POST
    public ComboBoxModel doFillKernelItems(
            @AncestorInPath Item item, @QueryParameter String gateway, @QueryParameter String credentialsId) {
        FormChecks.mayConfigure(item);
        ComboBoxModel names = new ComboBoxModel();
        try {
            names.addAll(kernels(item, gateway, credentialsId));
        } catch (IOException unreachable) {
            // The field takes any name; the reason stands below it.
        }
        return names;
    }

    @POST
    public FormValidation doCheckKernel(
            @AncestorInPath Item item,
            @QueryParameter String value,
            @QueryParameter String gateway,
            @QueryParameter String credentialsId) {
        FormChecks.mayConfigure(item);
        String kernel = Util.fixEmptyAndTrim(value);
        try {
            List<String> names = kernels(item, gateway, credentialsId);
            if (kernel == null || kernel.contains("$") || names.isEmpty() || names.contains(kernel)) {
                return FormValidation.ok();
            }
            return FormValidation.warning("The gateway has no kernel '" + kernel + "'; it has "
                    + String.join(", ", names) + ".");
        } catch (IOException unreachable) {
            return FormValidation.warning("Kernels can't be listed. " + unreachable.getMessage());
        }
    }

    private static List<String> kernels(Item item, String gateway, String credentialsId) throws IOException {
        if (gateway != null && gateway.contains("$")) {
            return List.of();
        }
        GatewayTarget target = GatewayTarget.of(item, gateway, credentialsId);
        return target.url() == null
                ? List.of()
                : new GatewayClient(target.url(), target.tokenForForm(item)).kernels();
    }

    @POST
    public FormValidation doCheckNotebook(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.required(item, value, "Name a notebook or script of the workspace.");
    }

    @POST
    public FormValidation doCheckCode(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.required(item, value, "Write the code that is to run.");
    }

    @POST
    public FormValidation doCheckParams(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.readable(item, value, TextLines::parameters);
    }

    /** Obvious slips only; the command judges the rest, since it knows the language. */
    @POST
    public FormValidation doCheckRequire(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.readable(item, value, text -> {
            for (String gate : TextLines.split(List.of(text))) {
                if (!gate.matches(".*(<=?|>=?|==|!=).*")) {
                    throw new IllegalArgumentException("'" + gate + "' compares nothing; write e.g. accuracy >= 0.9.");
                }
            }
        });
    }

    @POST
    public FormValidation doCheckSecrets(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.readable(item, value, text -> TextLines.secrets(TextLines.split(List.of(text))));
    }

    @POST
    public FormValidation doCheckOutputDir(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.sound(item, value, Paths::folderProblem);
    }

    @POST
    public FormValidation doCheckTimeout(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.positive(item, value);
    }

    @POST
    public FormValidation doCheckCellTimeout(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.positive(item, value);
    }

    @POST
    public FormValidation doCheckCpus(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.positive(item, value);
    }

    @POST
    public FormValidation doCheckMaxGpuHours(@AncestorInPath Item item, @QueryParameter String value) {
        return FormChecks.positive(item, value);
    }

    @POST
    public FormValidation doCheckGpus(@AncestorInPath Item item, @QueryParameter String value) {
        FormChecks.mayConfigure(item);
        return Util.fixEmptyAndTrim(value) == null
                ? FormValidation.ok()
                : FormValidation.validateNonNegativeInteger(value);
    }
}
